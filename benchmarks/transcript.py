"""``python -m benchmarks.transcript``: records what `dermatriage` prints, against a real stack, into the README.

The experiment is small and its images are generated (seed 0), so that it takes two minutes on two cores and its
figures mean nothing. What differs from run to run, ids and times, is as it came.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten

import numpy as np
from PIL import Image

from models_store.datasets.layout import read_split
from models_store.datasets.synthetic import generate
from models_store.settings import Settings
from service.embedded.stack import embedded_stack

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- transcript: begin -->", "<!-- transcript: end -->"
WIDTH = 100
COUNTS = (3000, 600, 600)
COMMANDS = (
    "dermatriage submit --preset demo --dataset lesions --epochs 10 --strategy LowLR --watch",
    "dermatriage predict images/*.png",
)
EPOCH = re.compile(r"  \S+ epoch (\d+)/\d+ ")


def with_transcript(readme: str, transcript: str) -> str:
    """The README's text with `transcript` between its markers. Raises ValueError if a marker is missing."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the README needs the lines {BEGIN} and {END} around the transcript")
    indented = "\n".join(f"    {line}".rstrip() for line in transcript.splitlines())
    return f"{before}{BEGIN}\n{indented}\n{END}{after}"


def transcript(folder: Path) -> str:
    """What a person at a terminal 100 columns wide would read, command by command."""
    generate(folder / "lesions.npz", counts=COUNTS)
    _write_images(folder / "lesions.npz", folder / "images")
    with _stack(folder / "var") as environment:
        _run("dermatriage dataset register lesions.npz --name lesions", folder, environment)
        return "\n".join(f"$ {command}\n{abridged(_run(command, folder, environment))}" for command in COMMANDS)


def abridged(printed: str) -> str:
    """Of the epochs of a trial the first, and `…` for all others; a sentence wider than the terminal ends with `…`."""
    kept: list[str] = []
    for line in printed.splitlines():
        epoch = EPOCH.match(line)
        if epoch is None or epoch[1] == "1":
            kept.append(_fitted(line))
        elif kept[-1] != "  …":
            kept.append("  …")
    return "\n".join(kept)


def _fitted(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return line if len(line) <= WIDTH else indent + shorten(line, WIDTH - len(indent), placeholder=" …")


@contextmanager
def _stack(var: Path) -> Iterator[Mapping[str, str]]:
    """The embedded stack; yields the environment in which `dermatriage` finds it, its database and its store."""
    places = {"database_url": f"sqlite:///{var / 'dermatriage.db'}", "store_url": str(var / "store")}
    settings = Settings(port=0, host="127.0.0.1", auth="off", work_root=var / "work", _env_file=None, **places)
    with embedded_stack(settings, var, lambda line: print(line, file=sys.stderr)) as stack:
        chosen = {f"DERMATRIAGE_{name.upper()}": place for name, place in places.items()}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        yield {**os.environ, **chosen, "DERMATRIAGE_URL": stack.url, "PATH": path, "COLUMNS": str(WIDTH)}


def _run(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Standard output and the notes beside it, in the order of their coming. Raises CalledProcessError."""
    print(f"$ {command}", file=sys.stderr)
    shell = ["/bin/sh", "-c", command]
    ended = subprocess.run(
        shell, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ended.returncode != 0:
        raise SystemExit(f"{shlex.quote(command)} ended with {ended.returncode}:\n{ended.stdout}")
    return "\n".join(line.rstrip() for line in ended.stdout.splitlines())


def _write_images(data: Path, folder: Path) -> None:
    """The first malignant and the first benign test image."""
    folder.mkdir()
    test = read_split(data, "test")
    for name, label in (("benign", 0), ("malignant", 1)):
        first = int(np.flatnonzero(test.malignant == label)[0])
        Image.fromarray(test.images[first]).save(folder / f"{name}.png")


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        recorded = transcript(Path(scratch))
    README.write_text(with_transcript(README.read_text(), recorded))
