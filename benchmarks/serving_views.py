"""What an answer costs more where the model averages views and networks.

    python -m benchmarks.serving_views [--seconds 2] [--rounds 8] [--report docs/serving.md]

One client uploads images of 28x28 pixels to `POST /predict` of several web processes, one for each final model: CNN_v1
alone, EffLite_v1 with one view and with eight, and what the presets `laptop` and `best` come to if their ensembles take
every network. The servers answer by turns, so that whatever else the machine does falls on all alike. Takes about four
minutes on two cores, most of them for exporting. Expected: the ratios follow the network runs and their input sizes,
for the request itself costs little. Writes one section of the page and leaves the rest. An answer other than 200 makes
the exit status 1.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from benchmarks import load, servers
from benchmarks.load import Load
from benchmarks.serving import lesions, settings_in, stored
from benchmarks.serving_page import VIEWS_TITLE, busy_note, spread, with_section
from benchmarks.untrained import Untrained
from models_store.contract.catalog import PRESETS
from models_store.contract.specs import ExperimentSpec
from models_store.experiment.phases import screening
from workers.pipeline import machine


@dataclass(frozen=True)
class Final:
    """A final model: these networks, averaged over the views."""

    networks: tuple[Untrained, ...]
    views: int
    preset: str = ""

    @classmethod
    def of(cls, preset: str) -> Self:
        """Every network that the preset screens, up to as many as its ensemble takes."""
        spec = ExperimentSpec.model_validate({**PRESETS[preset], "dataset": "few"})
        networks = tuple(Untrained(trial.architecture, trial.input_size) for trial in screening(spec).values())
        return cls(networks[: spec.final.ensemble], spec.final.views, preset)

    @property
    def network_runs(self) -> int:
        return self.views * len(self.networks)

    def __str__(self) -> str:
        preset = f"`{self.preset}`: " if self.preset else ""
        return preset + " + ".join(map(str, self.networks))


BUSY = "Trust the multiples, not the milliseconds."
BASELINE = Final((Untrained("CNN_v1"),), 1)
MODELS = (
    BASELINE,
    Final((Untrained("EffLite_v1"),), 1),
    Final((Untrained("EffLite_v1"),), 8),
    Final.of("laptop"),
    Final.of("best"),
)


def main() -> int:
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that every server ends too
    busy_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="serving-views-") as name:
        measured = measure(Path(name), asked.rounds, asked.seconds)
    written = section(measured, asked.rounds, asked.seconds, busy_before)
    asked.report.write_text(with_section(asked.report.read_text(), VIEWS_TITLE, written))
    print(written)
    return int(any(each.failed for loads in measured.values() for each in loads))


def measure(folder: Path, rounds: int, seconds: float) -> Mapping[Final, Sequence[Load]]:
    """What one client saw of each model, round by round."""
    images = lesions(folder)
    ports = servers.ports(tuple(map(str, range(len(MODELS)))))
    measured: defaultdict[Final, list[Load]] = defaultdict(list)
    with ExitStack() as stack:
        requests = {}
        for model, (name, port) in zip(MODELS, ports.items(), strict=True):
            own = folder / name
            print(f"{model}, {model.views} views: exporting", file=sys.stderr)
            key, _ = stored(own, model.networks[0], others=model.networks[1:], views=model.views)
            requests[model] = [load.upload(image, port, [("Authorization", f"Bearer {key}")]) for image in images]
            command = servers.service(settings_in(own), port)
            server = stack.enter_context(servers.running(str(model), *command, port, requests[model][0]))
            load.measure(server.port, requests[model], 1, 1.0)  # the first answers are slower
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for model, port in zip(MODELS, ports.values(), strict=True):
                measured[model].append(load.measure(port, requests[model], 1, seconds))
    return measured


def section(measured: Mapping[Final, Sequence[Load]], rounds: int, seconds: float, busy_before: float) -> str:
    lines = [
        "| networks | views | network runs | p50 ms | p95 ms | p50 as a multiple of CNN_v1 |",
        "|---|---|---|---|---|---|",
    ]
    for model, loads in measured.items():
        middle, tail = (statistics.median(each.percentile(share) for each in loads) for share in (50, 95))
        ratios = _ratios(loads, measured[BASELINE])
        lines.append(
            f"| {model} | {model.views} | {model.network_runs} | {middle:.1f} | {tail:.1f} | {spread(ratios)} |"
        )
    table = "\n".join(lines)
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"""## {VIEWS_TITLE}

One client, `POST /predict` of this service, the same images as above; {machine.described()}, {when}.
The load average was {busy_before:.1f} before the run. Medians of {rounds} rounds of {seconds:g} s, the servers by
turns. A multiple is taken in each round; in parentheses are the least and the most.{busy_note(busy_before, BUSY)}

{table}

A network run is one network that sees one view of the image. `at 112` is the side in pixels to which the network
resizes the image; where no side is named, EffLite_v1 takes 56. A model's card states the milliseconds of its graph
without the request around it, and the estimate of an experiment what to expect of its `final`."""


def _ratios(loads: Sequence[Load], baseline: Sequence[Load]) -> list[float]:
    """Median latency as a multiple of the baseline's in the same round, ascending."""
    return sorted(each.percentile(50) / other.percentile(50) for each, other in zip(loads, baseline, strict=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each model and round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--report", type=Path, default=Path("docs/serving.md"), help="the page to write the section to")
    return parser.parse_args()


if __name__ == "__main__":
    from workers.pipeline.backend import configure

    configure("tensorflow", seed=1)
    raise SystemExit(main())
