"""A few hundred mutants of each format; `benchmarks/fuzz_images.py` tries 20,000."""

import importlib.util
import resource
from pathlib import Path

import pytest

from service.predictions.engine.images import FORMATS

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "fuzz_images.py"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of much in a broken file; a server's log is the place for it
def test_mutated_image_is_decoded_or_cleanly_refused(kind: str) -> None:
    spec = importlib.util.spec_from_file_location("fuzz_images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decoded, found = script.unclean(kind, 400)
    assert found == []
    assert 0 < decoded < 400
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024
