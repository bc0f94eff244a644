"""The measuring itself: the clients count what they are answered, and the page says what was missed."""

import argparse
import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import load
from benchmarks.grouped_bars import grouped_bars
from benchmarks.load import Load
from benchmarks.serving import CLIENTS, NAMES, Cell, Measured
from benchmarks.serving_page import PROFILE_TITLE, VIEWS_TITLE, _verdict, section_of, with_section, write_page
from benchmarks.strange_images import strange_images


class Listener:
    """An HTTP server that checks that each upload is whole, and answers every fifth with 503."""

    def __init__(self) -> None:
        self.asked = 0
        self.port = 0
        self.started, self.ended = threading.Event(), asyncio.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self.listen()))

    async def listen(self) -> None:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        await self.ended.wait()
        server.close()
        await server.wait_closed()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self.head(reader):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            assert b"IMAGE" in body
            assert body.endswith(b"--\r\n")
            self.asked += 1
            status = b"503 Busy" if self.asked % 5 == 0 else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\n")
            await writer.drain()
            writer.write(b"done")
            await writer.drain()
        writer.close()

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    listener.thread.start()
    assert listener.started.wait(10)
    yield listener
    listener.loop.call_soon_threadsafe(listener.ended.set)
    listener.thread.join(10)
    listener.loop.close()


@pytest.mark.parametrize("clients", [1, 7])
def test_clients_time_each_answer_and_count_failures(listener: Listener, clients: int) -> None:
    requests = [load.upload(b"IMAGE", listener.port, [("Authorization", "Bearer key")])] * 3
    seen = load.measure(listener.port, requests, clients, 0.2)
    assert len(seen.milliseconds) == listener.asked >= clients
    assert seen.failed == listener.asked // 5
    assert 0 < seen.percentile(50) <= seen.percentile(99)
    assert seen.per_second == pytest.approx(listener.asked / seen.seconds)


def measured(architecture: str, rates: dict[str, float]) -> Measured:
    """Each server answers at its rate, whoever asks."""
    cells = {
        (name, clients): [Cell(Load(1.0, [1.0] * round(rates[name]), 0), 0.5) for _ in range(2 if name == "b" else 8)]
        for name in NAMES
        for clients in CLIENTS
    }
    starts = {name: [(2.0, 1.5)] for name in NAMES}
    return Measured(architecture, cells, starts, dict.fromkeys(NAMES, (200.0, 150.0)), 40.0)


@pytest.mark.parametrize(("floor", "met"), [(750, "yes"), (2000, "**no**")])
def test_page_says_which_goal_was_missed_and_its_plot_is_drawn(tmp_path: Path, floor: float, met: str) -> None:
    asked = argparse.Namespace(processes=1, threads=1, rounds=3, seconds=2.0)
    small = measured("CNN_v1", {"a": 1000, "b": 10, "c": floor, "d": 500})
    write_page(
        tmp_path / "serving.md", [small, measured("ResNet_v1", {"a": 120, "b": 9, "c": 100, "d": 80})], asked, 1.0
    )
    page = (tmp_path / "serving.md").read_text()
    ratio = f"{1000 / floor:.2f}"
    assert f"| CNN_v1, 16 clients, a / c | >= 1.3 | {ratio} ({ratio} to {ratio}) | {met} |" in page
    assert "| CNN_v1, 16 clients, a / b | >= 40 | 100 (100 to 100) | yes |" in page
    assert "| ResNet_v1, 16 clients, a / c | >= 1.0 | 1.20 (1.20 to 1.20) | yes |" in page
    assert (tmp_path / "images" / "serving.svg").exists()


@pytest.mark.parametrize("title", [VIEWS_TITLE, PROFILE_TITLE])
def test_page_that_is_measured_again_keeps_sections_of_other_scripts(tmp_path: Path, title: str) -> None:
    asked = argparse.Namespace(processes=1, threads=1, rounds=3, seconds=2.0)
    both = [measured(name, {"a": 120, "b": 9, "c": 100, "d": 80}) for name in ("CNN_v1", "ResNet_v1")]
    page = tmp_path / "serving.md"
    write_page(page, both, asked, 1.0)
    section = f"## {title}\n\nmeasured on its own"
    page.write_text(with_section(page.read_text(), title, section))
    write_page(page, both, asked, 1.0)
    assert section_of(page.read_text(), title) == section
    assert page.read_text().index(section) < page.read_text().index("## How it was measured")


def test_goal_that_only_some_rounds_reach_is_not_called_met() -> None:
    assert _verdict([0.3, 0.5, 0.7, 0.9], 0.6) == ("0.60 (0.30 to 0.90)", "yes, the rounds differ")
    assert _verdict([0.3, 0.5, 0.5, 0.9], 0.6)[1] == "**no**"
    assert _verdict([0.5, 0.7, 0.7, 0.9], 0.6)[1] == "yes"


def test_bars_are_as_high_as_the_logarithm_of_their_values() -> None:
    drawn = ElementTree.fromstring(grouped_bars({"one": {"group": [10.0, 100.0, 1000.0]}}, ["a", "b", "c & d"], "axis"))
    bars = [element for element in drawn.iter("{http://www.w3.org/2000/svg}rect") if element.get("width") != "12"]
    low, middle, high = (float(bar.get("height", "nan")) for bar in bars)
    assert low == pytest.approx(0)
    assert high == pytest.approx(2 * middle, rel=0.01)


def test_strange_images_are_drawn_by_seed() -> None:
    first, again = strange_images(16, seed=1, number=3), strange_images(16, seed=1, number=3)
    for kind, images in first.items():
        assert (images.shape, images.dtype) == ((3, 16, 16, 3), np.uint8), kind
        np.testing.assert_array_equal(images, again[kind])
