"""What every test may ask for."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data" / "ham10000_28.npz"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The 10,015 real images at 28x28, with their lesions CSV beside them."""
    if not REAL_DATA.exists():
        pytest.skip(f"the real data set is not at {REAL_DATA}")
    return REAL_DATA
