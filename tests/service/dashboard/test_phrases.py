"""Times in words."""

from datetime import UTC, datetime, timedelta

import pytest

from service.presentation.phrases import about, ago, code, duration, file_name, milliseconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (0.2, "under 1 s"),
        (42, "42 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (90000, "1 day 1 h"),
        (172800, "2 days"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "just now"), (59, "59 s ago"), (119, "1 min ago"), (3600 * 5, "5 h ago"), (86400 * 1.5, "1 day ago")],
)
def test_a_past_time_has_one_unit(seconds: float, words: str) -> None:
    assert ago(datetime.now(UTC) - timedelta(seconds=seconds)) == words


def test_a_time_long_past_is_a_date() -> None:
    assert ago(datetime(2025, 3, 1, tzinfo=UTC)) == "2025-03-01"
    assert ago(None) == "not yet"


@pytest.mark.parametrize(
    ("seconds", "words"), [(30, "30 s"), (100, "1.7 min"), (3000, "50 min"), (7200, "2 h"), (864000, "10 days")]
)
def test_an_estimate_has_one_unit(seconds: float, words: str) -> None:
    assert about(seconds) == words


@pytest.mark.parametrize(("value", "words"), [(0.284, "0.28"), (4.06, "4.1"), (12.4, "12"), (1234.5, "1234")])
def test_milliseconds_have_at_least_two_digits(value: float, words: str) -> None:
    assert milliseconds(value) == words


def test_code_is_marked_and_markup_is_not() -> None:
    assert str(code("`a<b` and <i>")) == "<code>a&lt;b</code> and &lt;i&gt;"


def test_the_name_of_a_file_is_short_and_has_no_special_characters() -> None:
    assert file_name("Recall, at 95 % (or/more)") == "recall-at-95-or-more"
    assert file_name("Epochs of " + "a network " * 20) == "epochs-of-a-network-a-network-a-network-a-network-a-network"
