"""The forged files of the attacks, their verdicts and their exit status."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from benchmarks.attack import forged, wire
from benchmarks.attack.findings import Attack, Finding, attempt, exit_code, table, tally

CONTENT = b"BM" + bytes(5000)


def test_png_of_69_bytes_claims_40_million_pixels_and_has_none() -> None:
    content = forged.claiming_png()

    assert len(content) == 69
    with Image.open(io.BytesIO(content)) as claimed:
        assert (claimed.size, claimed.mode) == ((1, 40_000_000), "RGBA")
        claimed.verify()  # the checksums are right


@pytest.mark.parametrize("size", [(1, 3000), (30, 20)])
def test_blank_png_is_valid_and_complete(size: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(forged.blank_png(*size))) as image:
        image.load()
        assert (image.size, image.mode, image.getextrema()) == (size, "RGBA", ((0, 0),) * 4)


@pytest.mark.parametrize("name", list(forged.short_pngs()))
def test_short_png_has_fewer_bytes_of_pixels_than_it_claims(name: str) -> None:
    content = forged.short_pngs()[name]
    start = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[start - 4 : start])

    rows = zlib.decompressobj().decompress(content[start + 4 : start + 4 + length])

    assert Image.open(io.BytesIO(content)).size == (28, 28)
    assert len(rows) < 28 * (1 + 3 * 28) or not content.endswith(forged.END)


@pytest.mark.parametrize("forge", [forged.overlapping_zip, forged.quoting_zip])
def test_members_of_an_overlapping_zip_share_their_bytes_and_are_whole(forge: Callable[[int, bytes], bytes]) -> None:
    content = forge(5, CONTENT)
    members = zipfile.ZipFile(io.BytesIO(content)).infolist()

    assert len(members) == 5
    assert sum(member.compress_size for member in members) > len(content) - 5 * 100
    for member in members:  # inflated here, as some versions of zipfile refuse to
        data = content[member.header_offset + 30 + len(member.filename) :]
        plain = zlib.decompressobj(-15).decompress(data)
        assert (len(plain), zlib.crc32(plain)) == (member.file_size, member.CRC)
        assert plain.endswith(CONTENT)
    starts = sorted(member.header_offset for member in members)
    assert starts[-1] < members[0].header_offset + 30 + members[0].compress_size


@pytest.mark.parametrize(("held", "code"), [((True, True), 0), ((True, False), 1), ((), 1)])
def test_one_success_or_no_attack_makes_the_exit_status_1(held: tuple[bool, ...], code: int) -> None:
    tried = [attempt(an_attack(Finding(each, "something [red]")), target()) for each in held]
    out = Console(file=io.StringIO(), width=100, record=True)
    out.print(table(tried))

    assert exit_code(tried) == code
    assert ("BROKEN" in out.export_text()) == (False in held)


def test_attack_that_stumbles_counts_as_a_success() -> None:
    def stumble(_target: Any) -> Finding:
        raise ConnectionRefusedError("the server is gone")

    finding = attempt(Attack("any", "it works", stumble), target()).finding

    assert finding == Finding(False, "ConnectionRefusedError: the server is gone")


def test_answers_are_counted_without_interim_ones_and_texts_of_bodies() -> None:
    received = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nHTTP/1.1HTTP/1.1 401 No\r\n\r\n"
    )

    assert wire.statuses(received) == [200, 401]
    assert tally([200, 401, 200, "no answer"]) == "2 x 200, 1 x 401, 1 x no answer"


def an_attack(finding: Finding) -> Attack:
    return Attack("any", "it works", lambda _target: finding)


def target() -> Any:
    return None
