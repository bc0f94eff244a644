"""Mutated images against the decoder: only clean refusals, and bounded memory.

    .venv/bin/python benchmarks/fuzz_images.py --each 20000

Expected: `0 unclean` for each of the five formats; about two minutes a format on one core.
"""

import argparse
import io
import random
import resource
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from service.predictions.engine.images import FORMATS, ImageRefused, ImageUnknown, limit_pillow, prepare

MAX_PIXELS = 1_000_000


def original(kind: str) -> bytes:
    """A small photograph-like image in the format."""
    pixels = np.random.default_rng(1).integers(0, 255, (24, 31, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut out, repeated or put in; mostly few, so that headers stay readable."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(changed)) if rng.random() < 0.5 else rng.randrange(min(64, len(changed)))
        act = rng.randrange(5)
        if act == 0:
            changed[place] = rng.randrange(256)
        elif act == 1:
            changed[place] ^= 1 << rng.randrange(8)
        elif act == 2:
            del changed[place : place + rng.randrange(1, 40)]
        elif act == 3:
            changed[place:place] = changed[place : place + rng.randrange(1, 40)]
        else:
            changed[place : place + 4] = rng.choice((b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff"))
        changed = changed or bytearray(b"\x00")
    return bytes(changed)


def with_checksums(content: bytes) -> bytes:
    """A PNG whose checksums fit again, so that a mutant reaches the decoder."""
    repaired, at = bytearray(content), 8
    while at + 12 <= len(repaired):
        end = at + 8 + int.from_bytes(repaired[at : at + 4], "big")
        if end + 4 > len(repaired):
            break
        repaired[end : end + 4] = zlib.crc32(bytes(repaired[at + 4 : end])).to_bytes(4, "big")
        at = end + 4
    return bytes(repaired)


def unclean(kind: str, number: int, seed: int = 1) -> tuple[int, list[str]]:
    """How many of `number` mutants were decoded, and every outcome other than a clean refusal."""
    rng, content, decoded, found = random.Random(seed), original(kind), 0, []
    for _ in range(number):
        mutant = mutated(content, rng)
        if kind == "PNG" and rng.random() < 0.8:
            mutant = with_checksums(mutant)
        try:
            prepared = prepare(mutant, 28, MAX_PIXELS)
        except (ImageRefused, ImageUnknown):
            continue
        except Exception as error:
            found.append(repr(error))
            continue
        decoded += 1
        if prepared.pixels.shape != (28, 28, 3) or prepared.pixels.dtype != np.uint8:
            found.append(f"pixels {prepared.pixels.dtype} {prepared.pixels.shape}")
    return decoded, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=20_000)
    each = parser.parse_args().each
    limit_pillow(MAX_PIXELS)
    failed = False
    for kind in FORMATS:
        began = time.perf_counter()
        decoded, found = unclean(kind, each)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds = time.perf_counter() - began
        print(
            f"{kind:5} {each} mutants, {decoded} decoded, {len(found)} unclean, {memory:.0f} MB peak, {seconds:.0f} s"
        )
        failed = failed or bool(found)
        for error in found[:5]:
            print("     ", error)
    sys.exit(failed)


if __name__ == "__main__":
    main()
