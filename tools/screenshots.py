"""Takes a screenshot of every page of the dashboard: light, dark and on a phone. ``make screenshots [DATA=path.npz]``.

Starts the whole product, trains a small experiment with two seeds (on the images of DATA, or on generated ones), starts
another one, and opens each page in the system's Chromium. Writes docs/images/*.png. Takes minutes on two cores.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, expect

from models_store.datasets.synthetic import generate
from tests.end_to_end.browser import DESKTOP, PHONE, Visit, started, visit
from tests.end_to_end.serving import served
from tests.end_to_end.stack import Stack, eventually, training

FOLDER = Path("docs/images")
EXPERIMENT_SECONDS = 3000
APPEARANCES: dict[str, tuple[dict[str, Any], str]] = {
    "light": (DESKTOP, "light"),
    "dark": (DESKTOP, "dark"),
    "phone": (PHONE | {"device_scale_factor": 1.5}, "light"),
}
SMALL: dict[str, Any] = {
    "name": "A small network",
    "architectures": ["CNN_v1"],
    "class_weights": ["W3"],
    "strategies": ["LowLR"],
    "epochs": 10,
    "selection": {"policy": "specificity_at_recall"},
    "promote": "always",
}
LONG: dict[str, Any] = {
    "name": "Every custom network",
    "architectures": ["CNN_v1", "CNN_v2", "CNN_v3"],
    "class_weights": ["W0", "W3", "W5"],
    "epochs": 30,
}


@dataclass(frozen=True)
class Shot:
    """One page and the name of its image; `whole` includes all of it, not only the screen.

    `press` names a button to press first, and `until` the element that is visible afterwards.
    """

    name: str
    path: str
    whole: bool = True
    press: str | None = None
    until: str = "main"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    with started() as browser, running(options.data) as (stack, dataset):
        finished = stack.submit(**SMALL, dataset=dataset)
        repeated = stack.submit(**SMALL | {"name": "With another seed", "seed": 43}, dataset=dataset)
        for experiment_id in (finished, repeated):
            eventually(
                lambda waited=experiment_id: stack.read(waited)["status"] == "succeeded",
                EXPERIMENT_SECONDS,
                "the end of the experiment",
            )
        stack.submit(**LONG | {"name": "Deeper networks on a GPU", "queue": "gpu"}, dataset=dataset)
        stack.cancel(stack.submit(**LONG | {"name": "Cancelled", "queue": "gpu"}, dataset=dataset))
        running_id = stack.submit(**LONG, dataset=dataset, priority=9)
        eventually(lambda: _epochs(stack, running_id) >= 2, EXPERIMENT_SECONDS, "the second epoch")
        experiment = f"/experiments/{finished}"
        shots = [
            Shot("experiments", "/", whole=False),
            Shot("new-experiment", "/experiments/new", whole=False),
            Shot("experiment", experiment),
            Shot("experiment-running", f"/experiments/{running_id}"),
            Shot("result", f"{experiment}/result"),
            Shot("comparison", f"/experiments/compare?id={finished}&id={repeated}"),
            Shot("models", "/models"),
            Shot("model", f"/models/{stack.read(finished)['result']['model_version']}", whole=False),
            Shot("try-it", "/try", press="generated melanoma", until="#answer"),
            Shot("system", "/system"),
        ]
        take_screenshots(browser, f"http://127.0.0.1:{stack.web_port}", shots)
        with served(stack.folder, stack.database_url, auth="keys") as guarded:
            take_screenshots(browser, guarded, [Shot("sign-in", "/sign-in", whole=False)])
    pictures = list(FOLDER.glob("*.png"))
    print(f"{len(pictures)} images, {sum(path.stat().st_size for path in pictures) / 1e6:.1f} MB, in {FOLDER}")


@contextmanager
def running(data: Path | None) -> Iterator[tuple[Stack, str]]:
    """The product and the name of its registered data set."""
    with tempfile.TemporaryDirectory(prefix="screenshots-") as name, training(Path(name)) as stack:
        if data is None:
            data = stack.folder / "generated.npz"
            generate(data, counts=(3000, 600, 600))
        dataset = data.stem.lower()
        stack.register(data, dataset)
        yield stack, dataset


def take_screenshots(browser: Browser, home: str, shots: list[Shot]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for appearance, (device, colours) in APPEARANCES.items():
        with visit(browser, home, colours=colours, **device) as visitor:
            for shot in shots:
                _take_screenshot(visitor, shot, FOLDER / f"{shot.name}-{appearance}.png", appearance)
            assert visitor.is_clean()


def _take_screenshot(visitor: Visit, shot: Shot, path: Path, appearance: str) -> None:
    visitor.open(shot.path)
    if shot.press is not None:
        expect(visitor.page.locator("body[data-ready]")).to_be_attached()
        visitor.page.get_by_role("button", name=shot.press).click()
    expect(visitor.page.locator(shot.until)).to_be_visible(timeout=30_000)
    visitor.page.wait_for_timeout(1500)  # for plots and estimates
    taken = visitor.page.screenshot(full_page=shot.whole and appearance != "phone")
    with Image.open(io.BytesIO(taken)) as image:
        # The pages have flat colours: 255 of them are enough, at a third of the bytes.
        image.convert("RGB").quantize(255, dither=Image.Dither.NONE).save(path, optimize=True)


def _epochs(stack: Stack, experiment_id: str) -> int:
    answer = httpx.get(f"http://127.0.0.1:{stack.web_port}/v1/experiments/{experiment_id}/trials", trust_env=False)
    return sum(trial["epochs_done"] for trial in answer.raise_for_status().json()["items"])


if __name__ == "__main__":
    main()
