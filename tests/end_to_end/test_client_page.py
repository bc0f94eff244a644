"""docs/client.md as a person follows it: its blocks in order, against the real stack, with the output it shows."""

import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models_store.datasets.synthetic import generate
from service.cli.datasets import register_file
from service.embedded.stack import embedded_stack, settings_under

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
ADDRESS = "http://127.0.0.1:8000"
# Enough malignant images in validation for the guarantee of the default calibration.
COUNTS = (600, 400, 200)


@dataclass(frozen=True)
class Block:
    """One block of Python, the line it begins on, and the output that the page shows for it."""

    code: str
    line: int
    shown: str


def blocks(page: str) -> Iterator[Block]:
    for found in re.finditer(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", page, re.MULTILINE | re.DOTALL):
        yield Block(found[1], page[: found.start(1)].count("\n"), found[2] or "")


def fits(printed: str, shown: str) -> bool:
    """Whether the output is the one shown, `…` standing for anything."""
    return re.fullmatch(".*?".join(map(re.escape, shown.split("…"))), printed, re.DOTALL) is not None


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The embedded stack with the data set `lesions`, in a folder that holds the images of the page."""
    monkeypatch.chdir(tmp_path)
    generate(tmp_path / "lesions.npz", counts=COUNTS)
    rng = np.random.default_rng(0)
    (tmp_path / "lesions").mkdir()
    for name in ("lesion.png", "lesions/a.png", "lesions/b.png"):
        Image.fromarray(rng.integers(0, 255, (28, 28, 3), np.uint8)).save(tmp_path / name)
    settings = settings_under(tmp_path / "var").model_copy(update={"port": 0, "host": "127.0.0.1", "auth": "off"})
    with embedded_stack(settings, tmp_path / "var", lambda _: None) as stack:
        register_file(tmp_path / "lesions.npz", "lesions", stack.settings)
        yield stack.url


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """What the blocks define; the client is closed also when the page breaks off."""
    defined: dict[str, Any] = {}
    yield defined
    if "client" in defined:
        defined["client"].close()


@pytest.mark.slow
def test_page_runs_from_top_to_bottom_and_prints_what_it_shows(url: str, names: dict[str, Any]) -> None:
    page = PAGE.read_text()

    for block in blocks(page):
        output = io.StringIO()
        code = compile("\n" * block.line + block.code.replace(ADDRESS, url), str(PAGE), "exec")
        # In a thread without an event loop: the browser of other tests keeps one running in this thread.
        with redirect_stdout(output), ThreadPoolExecutor(1) as thread:
            thread.submit(exec, code, names).result()
        assert fits(output.getvalue(), block.shown), f"line {block.line} of {PAGE} printed:\n{output.getvalue()}"

    assert Path("model.zip").exists()
    assert Path("heatmap.png").exists()


def test_every_output_of_the_page_belongs_to_a_block() -> None:
    page = PAGE.read_text()

    assert len([block for block in blocks(page) if block.shown]) == page.count("```text\n")
    assert len(list(blocks(page))) == page.count("```python\n")
