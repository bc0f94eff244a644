"""The memory of a web process under uploads: the worst ones within the limits, alone, twice and all together.

    python -m benchmarks.upload_memory [--goal 300]

Starts this service in one process on this machine and reads the peak of its resident memory from `/proc` (Linux).
Takes about two minutes on two cores. Expected: no row above 300 MB of growth; the exit status is 1 if there is one, or
an answer that is neither 200, 503 nor a refusal. The network is untrained, which changes nothing about the memory.
"""

import argparse
import io
import re
import socket
import struct
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import load, servers
from benchmarks.untrained import Untrained, promote_untrained
from migrations import migrated
from models_store.settings import Settings

LENGTH = re.compile(rb"Content-Length: \d+")
MEGABYTE = 10**6
GOAL = 300.0
CROWD = 150
LARGEST = 10 * 2**20
PATIENCE_SECONDS = 300
TIMES = 2  # as many as are decoded at once
ACCEPTABLE = (200, 400, 413, 415, 422, 503)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goal", type=float, default=GOAL, help="most growth, in MB")
    goal = parser.parse_args().goal
    with tempfile.TemporaryDirectory(prefix="upload-memory-") as folder:
        rows = measure(Path(folder))
    print("| uploads | MB of the largest | answers | growth of the process at its peak, MB |\n|---|---|---|---|")
    for name, size, answers, growth in rows:
        counts = ", ".join(f"{number} x {status}" for status, number in sorted(answers.items()))
        print(f"| {name} | {size / MEGABYTE:.1f} | {counts} | {growth:.0f} |")
    unexpected = [name for name, _, answers, _ in rows if set(answers) - set(ACCEPTABLE)]
    above = [name for name, _, _, growth in rows if growth > goal]
    print(f"\nabove {goal:.0f} MB: {', '.join(above) or 'none'}; unexpected answers: {', '.join(unexpected) or 'none'}")
    return int(bool(above or unexpected))


def measure(folder: Path) -> list[tuple[str, int, Counter[int], float]]:
    """A row for each kind of upload, sent twice at once; the last rows are crowds."""
    settings = {
        "database_url": f"sqlite:///{folder / 'dermatriage.db'}",
        "store_url": str(folder / "store"),
        "cache_root": str(folder / "cache"),
        "requests_per_minute": 10**9,
    }
    read = Settings(**settings, _env_file=None)
    with migrated(read.database_url) as database:
        promote_untrained(Untrained("CNN_v1"), read, database)
    (port,) = servers.ports(("a",)).values()
    command, environment = servers.service(settings, port)
    small = load.upload(png(28, 28), port)
    rows, kinds = [], {name: make() for name, make in SINGLE.items()}
    with servers.running("a", command, environment, port, small) as server:
        send_all(port, [small] * 200)
        memory = Memory(server.process.pid)
        for name, content in kinds.items():
            rows.append((name, len(content), *memory.growth(port, [load.upload(content, port)] * TIMES)))
        everything = [load.upload(content, port) for content in kinds.values()]
        crowd = [load.upload(noise_jpeg(), port)] * CROWD
        batches = [_batch(port, archive) for archive in (photographs(), small_files(), members_to_decode())]
        texts = [_texts(port)] * CROWD
        small_crowd = [load.upload(b"\x00" * 120_000, port)] * 2 * CROWD
        for name, requests in {
            "every kind above at once, twice": everything * 2,
            f"{CROWD} photographs of 10 MB at once": crowd,
            f"{CROWD} forms of text fields, 10 MB each, at once": texts,
            f"{2 * CROWD} small files of zeros at once": small_crowd,
            "6 batches of photographs, small files, images hard to decode": batches * 2,
            "all of these at once": everything * 2 + crowd + texts + batches * 2 + small_crowd,
        }.items():
            rows.append((name, max(map(len, requests)), *memory.growth(port, requests)))
    return rows


class Memory:
    """The resident memory of a process beyond what it had at first."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._before = self._kilobytes("VmRSS")

    def growth(self, port: int, requests: Sequence[bytes]) -> tuple[Counter[int], float]:
        """How the requests were answered, all sent at once, and the growth at the peak meanwhile in MB."""
        (self._folder / "clear_refs").write_text("5")  # the peak begins anew
        print(f"{len(requests)} requests", file=sys.stderr)
        answers = send_all(port, requests)
        return answers, (self._kilobytes("VmHWM") - self._before) * 1024 / MEGABYTE

    def _kilobytes(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def send_all(port: int, requests: Sequence[bytes]) -> Counter[int]:
    with ThreadPoolExecutor(len(requests)) as threads:
        return Counter(threads.map(lambda request: _status(port, request), requests))


def _status(port: int, request: bytes) -> int:
    """The status of the response, which is read to its end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        head, body = request.split(b"\r\n\r\n", 1)
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
            connection.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
        with suppress(ConnectionResetError):
            while received := connection.recv(65536):
                answer = (answer + received)[:12]
    return int(answer[9:12] or 0)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A gradient, so that it is small as a file and no decoder can skip it."""
    gray = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(gray)] * 3).convert(mode)


def turned(image: Image.Image, kind: str, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, kind, exif=exif, **options)


def png(width: int, height: int, colour: int = 6) -> bytes:
    """A PNG of zeros."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    compressor = zlib.compressobj(1)
    row = bytes(1 + width * (4 if colour == 6 else 1))
    data = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def noise_jpeg() -> bytes:
    """As large a file as is accepted, of twelve million pixels."""
    noise = np.random.default_rng(1).integers(0, 256, (3024, 4032, 3), np.uint8)
    content = encoded(Image.fromarray(noise), "JPEG", quality=70)
    return content[:-2] + bytes(max(0, LARGEST - len(content))) + content[-2:]


def photographs() -> bytes:
    """A zip of twelve-megapixel photographs."""
    return _zipped({f"{number}.jpg": encoded(picture(4032, 3024), "JPEG") for number in range(20)})


def small_files() -> bytes:
    return _zipped({f"{number}.png": png(200, 200) for number in range(500)})


def members_to_decode() -> bytes:
    """A small zip whose members are large once unpacked, and larger once decoded."""
    return _zipped({f"{number}.bmp": b"BM" + bytes(LARGEST - 2) for number in range(30)})


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _batch(port: int, archive: bytes) -> bytes:
    head, body = load.upload(archive, port, path="/v1/predict/batch").split(b"\r\n\r\n", 1)
    body = body.replace(b'name="file"', b'name="files"', 1)
    return LENGTH.sub(b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body


def _texts(port: int) -> bytes:
    parts = b"".join(
        b"\r\n--" + load.BOUNDARY + b'\r\nContent-Disposition: form-data; name="n"\r\n\r\n' + b"x" * 1_000_000
        for _ in range(10)
    )
    return load.upload(png(28, 28) + parts, port)


SINGLE: dict[str, Callable[[], bytes]] = {
    "PNG, 1 x 40,000,000, RGBA": lambda: png(1, 40_000_000),
    "PNG, 8000 x 5000, RGBA": lambda: png(8000, 5000),
    "PNG, 8000 x 5000, palette": lambda: encoded(picture(8000, 5000, "P"), "PNG"),
    "PNG, 16,384 x 2,400, turned": lambda: turned(picture(16_384, 2_400), "PNG", compress_level=1),
    "JPEG, 8000 x 5000": lambda: encoded(picture(8000, 5000), "JPEG", quality=60),
    "JPEG, 8000 x 5000, turned": lambda: turned(picture(8000, 5000), "JPEG", quality=60),
    "JPEG, 8000 x 5000, CMYK": lambda: encoded(picture(8000, 5000, "CMYK"), "JPEG", quality=60),
    "JPEG, 8000 x 5000, progressive": lambda: encoded(picture(8000, 5000), "JPEG", quality=60, progressive=True),
    "JPEG, 6000 x 4900, progressive 4:2:0": lambda: encoded(picture(6000, 4900), "JPEG", quality=60, progressive=True),
    "JPEG, 5100 x 4000, progressive 4:4:4": lambda: encoded(
        picture(5100, 4000), "JPEG", quality=60, progressive=True, subsampling=0
    ),
    "JPEG, 4032 x 3024, 10 MB": noise_jpeg,
    "WebP, 8000 x 5000": lambda: encoded(picture(8000, 5000), "WEBP", method=0),
    "WebP, 4080 x 3072": lambda: encoded(picture(4080, 3072), "WEBP", method=0),
    "WebP, 4080 x 3072, lossless": lambda: encoded(picture(4080, 3072, "RGBA"), "WEBP", method=0, lossless=True),
    "BMP, 3200 x 3200, palette": lambda: encoded(picture(3200, 3200, "P"), "BMP"),
    "TIFF, 8000 x 5000, deflate": lambda: encoded(picture(8000, 5000), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, 5000 x 5000, one strip": lambda: encoded(
        picture(5000, 5000), "TIFF", compression="tiff_adobe_deflate", strip_size=2**30
    ),
    "TIFF, 5000 x 5000, turned": lambda: turned(picture(5000, 5000), "TIFF", compression="tiff_adobe_deflate"),
}


if __name__ == "__main__":
    from workers.pipeline.backend import configure

    configure("tensorflow", seed=1)
    raise SystemExit(main())
