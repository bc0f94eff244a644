"""How the recorded session gets into the README."""

import pytest

from benchmarks.transcript import BEGIN, END, WIDTH, abridged, with_transcript


def test_of_a_trials_epochs_the_first_stays_and_one_mark_for_the_others() -> None:
    epochs = "".join(f"  A/W3 epoch {number}/3  recall 1\n" for number in (1, 2, 3))

    lines = abridged(f"phase 1\n{epochs}  A/W3 succeeded").splitlines()

    assert lines == ["phase 1", "  A/W3 epoch 1/3  recall 1", "  …", "  A/W3 succeeded"]


def test_a_sentence_wider_than_the_terminal_ends_with_a_mark() -> None:
    (line,) = abridged(f"  {'word ' * 40}").splitlines()

    assert len(line) <= WIDTH
    assert line.startswith("  word word")
    assert line.endswith("word …")


def test_transcript_replaces_what_is_between_the_markers_alone() -> None:
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert with_transcript(readme, "$ new\n\nline") == f"before\n{BEGIN}\n    $ new\n\n    line\n{END}\nafter\n"


def test_missing_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        with_transcript("no markers", "$ new")
