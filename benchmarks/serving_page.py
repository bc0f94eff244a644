"""The words, tables and plot of docs/serving.md."""

import argparse
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.grouped_bars import grouped_bars
from benchmarks.load import Load
from workers.pipeline import machine

SERVERS = {
    "a": "this service",
    "b": "FastAPI + `model.predict`",
    "c": "floor: bare FastAPI + ONNX Runtime",
    "d": "BentoML, adaptive batching",
    "before": "this service, the version before",
}
BEFORE = "before"
PLOT = Path("docs/images/serving.svg")
VIEWS_TITLE, PROFILE_TITLE, LAST_TITLE = "Views and ensembles", "Where the time goes", "How it was measured"
YES, NO = "yes", "**no**"
AGREED = 0.75  # of the rounds
MAX_MEGABYTES, MAX_START_SECONDS = 350, 3
PACKAGES = ("fastapi", "uvicorn", "onnxruntime", "keras", "tensorflow")


# (b) takes so long for its answers that it joins in every fourth round only.
EVERY_ROUND_OF_B = 4
BUSY = "Where the rounds differ widely, trust the CPU time of an answer\nmore than the answers a second."


@dataclass(frozen=True)
class Cell:
    """One server under one number of clients in one round."""

    load: Load
    cpu_milliseconds: float

    @property
    def figures(self) -> tuple[float, float, float, float]:
        """Answers a second, median and 99th percentile in milliseconds, CPU milliseconds of the server an answer."""
        return self.load.per_second, self.load.percentile(50), self.load.percentile(99), self.cpu_milliseconds


@dataclass
class Measured:
    """All of one architecture. Memory in megabytes, resident and proportional, after the load."""

    architecture: str
    cells: dict[tuple[str, int], list[Cell]] = field(default_factory=dict)
    starts: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    heatmap_milliseconds: float = 0.0

    def median(self, name: str, clients: int) -> tuple[float, ...]:
        columns = zip(*(cell.figures for cell in self.cells[name, clients]), strict=True)
        return tuple(statistics.median(column) for column in columns)

    def ratios(self, name: str, clients: int) -> list[float]:
        """Answers of (a) for one of `name`, ascending: one ratio for each round in which both took part."""
        pairs = zip(self.cells["a", clients][:: self.stride(name)], self.cells[name, clients], strict=True)
        return sorted(ours.load.per_second / other.load.per_second for ours, other in pairs)

    def cpu_ratio(self, name: str, clients: int) -> float:
        """CPU time that an answer costs `name` for one of (a), by the medians: the neighbours hardly change it."""
        return self.median(name, clients)[3] / self.median("a", clients)[3]

    def stride(self, name: str) -> int:
        return EVERY_ROUND_OF_B if name == "b" else 1


def write_page(path: Path, measured: Sequence[Measured], asked: argparse.Namespace, busy_before: float) -> None:
    """Writes the page, and beside it its plot."""
    plot = path.parent / PLOT.relative_to("docs")
    plot.parent.mkdir(parents=True, exist_ok=True)
    plot.write_text(_plot(measured))
    sections = [_head(asked, busy_before), _goals(measured), _figure(plot.relative_to(path.parent), measured)]
    sections += [_speed(each) for each in measured]
    sections += [_memory_and_start(measured), _heatmaps(measured), HOW]
    page, old = "\n\n".join(sections) + "\n", path.read_text() if path.exists() else ""
    for title in (VIEWS_TITLE, PROFILE_TITLE):
        kept = section_of(old, title)
        page = page if kept is None else with_section(page, title, kept)
    path.write_text(page)


def with_section(page: str, title: str, section: str) -> str:
    """The page with `section`, which begins with its title, in place of the one of that title or before the last."""
    old = section_of(page, title)
    if old is not None:
        return page.replace(old, section)
    return page.replace(f"## {LAST_TITLE}\n", f"{section}\n\n## {LAST_TITLE}\n")


def section_of(page: str, title: str) -> str | None:
    """From its title to the next one, or None."""
    _, found, rest = page.partition(f"## {title}\n")
    return (found + rest.partition("\n## ")[0]).rstrip() if found else None


def _head(asked: argparse.Namespace, busy_before: float) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"""# How fast predictions are

Written by `python -m benchmarks.serving`, the part on views by `python -m
benchmarks.serving_views`, the part on where the time goes by `python -m benchmarks.serving_profile`; do not edit.

Machine: {machine.described()}, Python {platform.python_version()}, {versions};
{datetime.now(UTC):%Y-%m-%d}. The load average was {busy_before:.1f} before the run and {os.getloadavg()[0]:.1f} at its
end. Each server: {asked.processes} process(es), {asked.threads} thread(s) for a run of the network. The client shares
the CPUs with the servers, and so did whatever else ran: **compare the ratios**, in which both sides had the same
neighbours, not the absolute figures. Medians of {asked.rounds} rounds of {asked.seconds:g} s, the servers by turns;
(b), the slowest, joins in every fourth.{busy_note(busy_before, BUSY)}

- **a**, this service with everything on: API keys, rate limits, record, batching, metrics, a JSON log line a request,
  calibrated probabilities, warnings (also of images unlike the training images), security headers, hot swap.
- **b**, what one would write otherwise: `benchmarks/peers/keras_predict.py`, FastAPI around Keras' `model.predict`.
- **c**, the floor: `benchmarks/peers/floor.py`, which decodes and calls ONNX Runtime and does nothing else.
- **d**, a serving framework: `benchmarks/peers/bento.py`, BentoML with adaptive batching on.

The networks are untrained (`weights: none`), which changes nothing about their speed."""


def _goals(measured: Sequence[Measured]) -> str:
    small, large = measured
    resident = small.memory["a"][0]
    start = statistics.median(seconds for seconds, _ in small.starts["a"])
    rows = [
        ("CNN_v1, 16 clients, a / b", ">= 40", *_verdict(small.ratios("b", 16), 40)),
        *(
            (
                f"CNN_v1, {clients} client{'s' * (clients > 1)}, a / c",
                ">= 1.3",
                *_verdict(small.ratios("c", clients), 1.3),
            )
            for clients in (1, 16, 64)
        ),
        *(
            (
                f"CNN_v1, {clients} client{'s' * (clients > 1)}, p99 of a",
                f"<= {small.median('c', clients)[2]:.1f} ms, that of c",
                f"{small.median('a', clients)[2]:.1f} ms",
                YES if small.median("a", clients)[2] <= small.median("c", clients)[2] else NO,
            )
            for clients in (1, 16, 64)
        ),
        (
            "CNN_v1, 16 clients, answers a second of CPU time",
            ">= 1,000",
            f"{1000 / small.median('a', 16)[3]:,.0f}",
            YES if small.median("a", 16)[3] <= 1 else NO,
        ),
        ("ResNet_v1, 16 clients, a / c", ">= 1.0", *_verdict(large.ratios("c", 16), 1.0)),
        (
            "web process with CNN_v1, resident, after the load",
            f"< {MAX_MEGABYTES} MB",
            f"{resident:.0f} MB",
            YES if resident < MAX_MEGABYTES else NO,
        ),
        (
            "first answer after the start, CNN_v1",
            f"< {MAX_START_SECONDS} s",
            f"{start:.1f} s",
            YES if start < MAX_START_SECONDS else NO,
        ),
    ]
    lines = [f"| {what} | {goal} | {found} | {met} |" for what, goal, found, met in rows]
    return "\n".join(
        ("| goal | wanted | measured: median (least to most of the rounds) | met |", "|---|---|---|---|", *lines)
    )


def _verdict(ratios: Sequence[float], goal: float) -> tuple[str, str]:
    """The ratios in words, and whether they reach the goal: for certain only where most of the rounds agree."""
    middle = statistics.median(ratios)
    met = sum(ratio >= goal for ratio in ratios) / len(ratios)
    agreed = (
        YES if met >= AGREED else NO if met <= 1 - AGREED else f"{'yes' if middle >= goal else 'no'}, the rounds differ"
    )
    return spread(ratios), agreed


def spread(ratios: Sequence[float]) -> str:
    digits = 0 if ratios[-1] >= 10 else 2
    return f"{statistics.median(ratios):.{digits}f} ({ratios[0]:.{digits}f} to {ratios[-1]:.{digits}f})"


def busy_note(before: float, advice: str) -> str:
    if max(before, os.getloadavg()[0]) <= machine.cpus():
        return ""
    return (
        f"\n\n**Other programs kept the CPUs busy during this run.** {advice}\n"
        "Measure again on an idle machine (`make bench`)."
    )


def _figure(plot: Path, measured: Sequence[Measured]) -> str:
    best = ", ".join(f"{each.median('a', 16)[0]:.0f} on {each.architecture}" for each in measured)
    return f"![Answers a second by server and number of clients; at 16 clients this service gives {best}]({plot})"


def _speed(each: Measured) -> str:
    lines = ["| clients | server | answers/s | p50 ms | p99 ms | CPU ms an answer |", "|---|---|---|---|---|---|"]
    clients = sorted({number for _, number in each.cells})
    names = [name for name in SERVERS if (name, clients[0]) in each.cells]
    for number in clients:
        for name in names:
            rate, median, tail, cpu = each.median(name, number)
            lines.append(f"| {number} | {name}: {SERVERS[name]} | {rate:.0f} | {median:.1f} | {tail:.1f} | {cpu:.2f} |")
    others = names[1:]
    ratios = [
        f"| clients | {' | '.join(f'answers/s, a / {name}' for name in others)} | "
        f"{' | '.join(f'CPU time an answer, {name} / a' for name in others)} |",
        "|---" * (1 + 2 * len(others)) + "|",
    ]
    ratios += [
        f"| {number} | {' | '.join(spread(each.ratios(name, number)) for name in others)} | "
        f"{' | '.join(f'{each.cpu_ratio(name, number):.2f}' for name in others)} |"
        for number in clients
    ]
    note = "Ratios; above 1 this service is ahead. In parentheses the least and the most of the rounds."
    return "\n".join((f"## {each.architecture}", "", *lines, "", note, "", *ratios))


def _memory_and_start(measured: Sequence[Measured]) -> str:
    lines = [
        "| network | server | resident MB | proportional MB | first answer after | of it CPU time |",
        "|---|---|---|---|---|---|",
    ]
    for each in measured:
        for name in each.memory:
            resident, proportional = each.memory[name]
            seconds, cpu = (statistics.median(column) for column in zip(*each.starts[name], strict=True))
            lines.append(
                f"| {each.architecture} | {name}: {SERVERS[name]} | {resident:.0f} | {proportional:.0f} | "
                f"{seconds:.1f} s | {cpu:.1f} s |"
            )
    return "\n".join(("## Memory after the load, and start", "", *lines))


def _heatmaps(measured: Sequence[Measured]) -> str:
    taken = " and ".join(f"{each.heatmap_milliseconds:.0f} ms for {each.architecture}" for each in measured)
    return f"""## Heatmap

`?explain=true` covers 144 parts of the image in turn. It took {taken}
(median, as each answer says itself). One is made at a time in each process, beside the answers of others."""


def _plot(measured: Sequence[Measured]) -> str:
    panels = {}
    names = list(measured[0].memory)
    for each in measured:
        clients = sorted({number for _, number in each.cells})
        panels[each.architecture] = {
            f"{number} client{'s' if number > 1 else ''}": [each.median(name, number)[0] for name in names]
            for number in clients
        }
    titles = [f"{name}: {SERVERS[name].replace('`', '')}" for name in names]
    return grouped_bars(panels, titles, "answers a second (each step ten times as much)")


HOW = f"""## {LAST_TITLE}

Each client keeps one connection and sends its next image when the last one was answered (a closed loop), so more
clients mean longer waits where a server is saturated. All servers get the same bytes, the API key included: generated
lesions of 28x28 pixels as PNG in a multipart form. Answers are timed from the first byte sent to the last received.
`CPU ms an answer` is what the kernel charged the server's processes, and hardly depends on what else ran. The rate
limit is set out of the way. A ratio is taken in each round, in which the servers answered one after the other, and the
median of these is told: the ratio of two medians can differ from it."""
