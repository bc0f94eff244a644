"""How fast is the dashboard in a browser, with a thousand experiments and one of thirteen trials with fifty epochs?

    python -m benchmarks.dashboard [--repeats 7]

Fills a database of each kind, serves it, and measures pages in the system's Chromium: the time to the content, to the
last drawn curve, and of each update while epochs arrive. Takes about three minutes on two cores. Writes
docs/dashboard.md.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from sqlalchemy import insert

from benchmarks.databases import fresh_database
from benchmarks.timings import Timing, by_database
from models_store import runs
from models_store.contract.catalog import ARCHITECTURES
from models_store.contract.outcomes import Epoch
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.tables import EpochRow, Experiment, Trial
from tests.end_to_end.browser import DESKTOP, PHONE, started, visit
from tests.end_to_end.serving import served

REPORT = Path("docs/dashboard.md")
EXPERIMENTS, EPOCHS, UPDATES = 1000, 50, 20
SPEC = ExperimentSpec(dataset="synthetic", epochs=EPOCHS)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LARGE = f"exp_{EXPERIMENTS:032x}"
FIGURES = ("recall", "specificity", "precision", "f1", "f2", "auc", "pr_auc", "loss", "specificity_at_recall")
# Until the end of the load event, the first byte, and the last drawn curve.
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
FIRST_BYTE = "performance.getEntriesByType('navigation')[0].responseStart"
DRAWN = """() => ["recall", "specificity", "auc", "loss"].every(
    (name) => document.querySelector(`#curve-${name} .scatterlayer .trace`)) ? performance.now() : 0"""
POINTS = """() => document.getElementById("curve-recall").data?.reduce((sum, line) => sum + line.x.length, 0) ?? 0"""
LONG_TASKS = """() => { window.longest = 0; new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
}).observe({ entryTypes: ["longtask"] }); }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    timings: dict[str, list[Timing]] = {}
    with started() as browser:
        version = browser.version
        for kind in ("sqlite", "postgresql"):
            with fresh_database(kind) as url, tempfile.TemporaryDirectory() as folder:
                database = Database(url)
                fill(database)
                with served(Path(folder), url) as home:
                    timings[kind] = measure(browser, home, database, arguments.repeats)
                database.close()
    REPORT.write_text(report(timings, version, arguments.repeats))
    print(REPORT.read_text())


def fill(database: Database) -> None:
    """A thousand finished experiments, and a running one whose trials have all started."""
    metrics = {"loss": 0.5, "recall": 0.8} | {f"val_{name}": 0.75 for name in FIGURES}
    test = {name: 0.8 for name in FIGURES} | {"curve": [{"recall": n / 400, "precision": 0.5} for n in range(400)]}
    spec = SPEC.model_dump(mode="json")
    with database.engine.execution_options(dermatriage_write=True).begin() as connection:
        experiments, trials, epochs = [], [], []
        for number in range(EXPERIMENTS + 1):
            id, is_large = f"exp_{number:032x}", number == EXPERIMENTS
            ended = (
                {"status": "running", "phase": 1, "progress": 0.5, "result": None}
                if is_large
                else {
                    "status": ("succeeded", "failed", "cancelled")[number % 3],
                    "phase": 3,
                    "progress": 1.0,
                    "result": {"winner": "CNN_v1/W3", "test": test},
                }
            )
            named = {"name": f"experiment {number}", "priority": 5, "spec": spec, "events": 1, **ended}
            experiments.append({"id": id, **named, "created_at": BEGAN + timedelta(minutes=number)})
            for place, architecture in enumerate(ARCHITECTURES):
                trial = f"trl_{number:024x}{place:08x}"
                trials.append(_trial(trial, id, place, architecture, metrics, is_large))
                if is_large:
                    flags = {"metrics": metrics, "seconds": 1.0, "eligible": True, "created_at": BEGAN}
                    epochs += [{"trial_id": trial, "number": n, "best": n == 9, **flags} for n in range(1, EPOCHS)]
        for table, rows in ((Experiment, experiments), (Trial, trials), (EpochRow, epochs)):
            connection.execute(insert(table), rows)


def measure(browser: Browser, home: str, database: Database, repeats: int) -> list[Timing]:
    return [
        *_loads(browser, home, "/", "list of experiments, first page", repeats),
        *_loads(browser, home, "/?text=experiment+99", "list of experiments, text search", repeats),
        *_loads(browser, home, "/experiments/new", "form for a new experiment", repeats),
        *_loads(browser, home, f"/experiments/{LARGE}", "experiment with 13 x 50", repeats, is_drawn=DRAWN),
        *_loads(
            browser,
            home,
            f"/experiments/{LARGE}",
            "experiment with 13 x 50, on a phone's screen",
            repeats,
            PHONE,
            DRAWN,
        ),
        *_updates(browser, home, database),
    ]


def _loads(
    browser: Browser,
    home: str,
    path: str,
    what: str,
    repeats: int,
    device: dict[str, Any] = DESKTOP,
    is_drawn: str | None = None,
) -> Iterator[Timing]:
    answered, ready = [], []
    with visit(browser, home, **device) as visitor:
        visitor.open(path)  # so that scripts and style sheets are cached
        for _ in range(repeats):
            visitor.open(path)
            drawn = _eventually(visitor.page, is_drawn) if is_drawn else 0.0
            answered.append(float(visitor.page.evaluate(FIRST_BYTE)))
            ready.append(max(drawn, float(visitor.page.evaluate(LOADED))))
        assert visitor.is_clean()
    yield Timing.of(f"{what}: first byte", answered)
    yield Timing.of(f"{what}: {'every curve drawn' if is_drawn else 'loaded'}", ready)


def _updates(browser: Browser, home: str, database: Database) -> Iterator[Timing]:
    """From the commit of an epoch to its point on the curve, and the longest task of the page."""
    seconds: list[float] = []
    with visit(browser, home) as visitor:
        visitor.open(f"/experiments/{LARGE}")
        _eventually(visitor.page, DRAWN)
        visitor.page.evaluate(LONG_TASKS)
        for number in range(UPDATES):
            place = number % len(ARCHITECTURES)
            before = visitor.page.evaluate(POINTS)
            claim = runs.Claim(f"trl_{EXPERIMENTS:024x}{place:08x}", LARGE, 1, 1, "train")
            metrics = {"loss": 0.5, "recall": 0.8} | {f"val_{name}": 0.75 for name in FIGURES}
            epoch = Epoch(
                number=EPOCHS + number // len(ARCHITECTURES), metrics=metrics, seconds=1.0, eligible=True, best=False
            )
            with database.write() as session:
                assert runs.heartbeat(session, claim, timedelta(minutes=1), [epoch]) == "ours"
            began = time.perf_counter()
            _wait(lambda before=before: visitor.page.evaluate(POINTS) > before)  # type: ignore[misc]
            seconds.append((time.perf_counter() - began) * 1000)
        longest = float(visitor.page.evaluate("window.longest"))
        assert visitor.is_clean()
    yield Timing.of("experiment with 13 x 50: from an epoch's commit to its point on the curve", seconds)
    yield Timing.of("experiment with 13 x 50: longest task of the page while epochs arrive", [longest])


def _eventually(page: Page, question: str) -> float:
    answer = 0.0

    def is_true() -> bool:
        nonlocal answer
        answer = float(page.evaluate(question))
        return answer > 0

    _wait(is_true)
    return answer


def _wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the page did not show it in time")
        time.sleep(0.01)


def _trial(
    id: str, experiment_id: str, place: int, architecture: str, metrics: dict[str, Any], runs: bool
) -> dict[str, Any]:
    return {
        "id": id,
        "experiment_id": experiment_id,
        "phase": 1,
        "position": place,
        "name": f"{architecture}/W3",
        "kind": "train",
        "queue": "cpu",
        "spec": {"architecture": architecture},
        "status": "running" if runs else "succeeded",
        "fence": 1,
        "attempts": 1,
        "epochs_done": EPOCHS - 1 if runs else EPOCHS,
        "metrics": None if runs else metrics,
        "lease_expires_at": datetime(2100, 1, 1, tzinfo=UTC) if runs else None,
        "created_at": BEGAN,
        "started_at": BEGAN,
    }


def report(timings: dict[str, list[Timing]], version: str, repeats: int) -> str:
    machine = f"{os.cpu_count()} cores ({platform.machine()}; load {os.getloadavg()[0]:.1f} at the end"
    return f"""# Dashboard performance

Written by `python -m benchmarks.dashboard` on {datetime.now(UTC):%Y-%m-%d}; all times are measured, in milliseconds.

The database has {EXPERIMENTS:,} experiments with 13 trials each, and a running one with 13 trials of {EPOCHS} epochs,
drawn as four plots with 8 columns. Server, database and browser (Chromium {version}) share {machine},
which includes other work on the machine). Each page was loaded {repeats} times with scripts, style sheets and plotly.js
in the browser's cache; then {UPDATES} epochs were committed one by one.

{by_database(timings, digits=0)}

An update includes two fixed intervals: the server checks for events every 500 ms, and a page draws at most every
700 ms, so it stays responsive with any number of trials.
"""


if __name__ == "__main__":
    main()
