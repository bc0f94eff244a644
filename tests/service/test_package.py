"""What is installed from the wheel is what runs from the folder."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GLOBS: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]


@pytest.mark.parametrize("name", ["migrations", "models_store", "service", "workers"])
def test_wheel_takes_every_file_that_is_no_module(name: str) -> None:
    files = {path for path in (ROOT / name).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    packages = [ROOT / name, *(path.parent for path in (ROOT / name).rglob("__init__.py"))]
    taken = {path for package in packages for glob in GLOBS for path in package.glob(glob)}
    assert files <= taken, f"add to package-data in pyproject.toml: {sorted(files - taken)}"
