"""docs/hardening.md names only tests that exist, and each of its rows names one or says why there is none."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "hardening.md").read_text()
NAMED = re.findall(r"\b(tests/[\w/.-]+\.py)(?:::(\w+))?", TEXT)
WITHOUT_A_TEST = ("not met", "no test", "does not apply")
MIN_TESTS = 40


def rows() -> list[list[str]]:
    """The cells of every row of every table, without the headings."""
    lines = [line for line in TEXT.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line)]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[-1] != "test"]


def test_every_file_named_exists() -> None:
    assert [path for path, _ in NAMED if not (ROOT / path).is_file()] == []


def test_every_function_named_is_in_its_file() -> None:
    functions = {(path, name) for path, name in NAMED if name}
    missing = [
        f"{path}::{name}"
        for path, name in sorted(functions)
        if not re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]

    assert missing == []


def test_many_tests_are_named() -> None:
    assert len({(path, name) for path, name in NAMED if name}) >= MIN_TESTS


def test_every_row_has_a_requirement_an_answer_and_a_test() -> None:
    assert rows()
    assert [row for row in rows() if len(row) != 3 or not all(row)] == []


def test_every_row_names_a_test_or_says_why_there_is_none() -> None:
    silent = [row for row in rows() if "tests/" not in row[-1] and not any(word in row[-1] for word in WITHOUT_A_TEST)]

    assert silent == []
