"""Sentences on recall and specificity by group of people, and when there is evidence for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from models_store.datasets.patients import UNKNOWN_GROUP

# Fewer malignant images leave a recall of 0.9 with an exact interval more than 0.3 wide; specificity likewise.
ENOUGH_IMAGES = 20

COUNTED = {"recall": "malignant", "specificity": "benign"}
Group = Mapping[str, Any]


def extremes(groups: Sequence[Group], figure: str) -> tuple[Group, Group] | None:
    """The groups with the lowest and the highest `figure`, `recall` or `specificity`; None of fewer than two groups.

    Recall compares groups with enough malignant images and specificity groups with enough benign ones, so a group may
    be compared by one and not by the other.
    """
    # The unknown are not a group of people, so no gap to them is named.
    compared = [group for group in groups if _has_enough(group, figure) and group["group"] != UNKNOWN_GROUP]
    if len(compared) < 2:
        return None
    ordered = sorted(compared, key=lambda group: float(group[figure]))
    return ordered[0], ordered[-1]


def gap(groups: Sequence[Group], figure: str) -> float | None:
    """The distance between those two groups."""
    found = extremes(groups, figure)
    return None if found is None else float(found[1][figure] - found[0][figure])


def gap_sentences(grouping: Mapping[str, Any]) -> list[str]:
    """The largest gaps of a recorded `Grouping`, then which of its groups are too small."""
    groups = grouping["groups"]
    return [_gap_sentence(groups, figure) for figure in COUNTED] + [
        f"{group['group']} has {group['malignant_images']} malignant and {group['benign_images']} benign images: too "
        f"few to say anything about {' or '.join(figure for figure in COUNTED if not _has_enough(group, figure))}."
        for group in groups
        if not group["enough"]
    ]


def described(groupings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Recorded groupings with a `title` and their `sentences`."""
    return [
        {**grouping, "title": f"By {grouping['column'].replace('_', ' ')}", "sentences": gap_sentences(grouping)}
        for grouping in groupings
    ]


def _gap_sentence(groups: Sequence[Group], figure: str) -> str:
    found = extremes(groups, figure)
    if found is None:
        return f"Fewer than two groups have {ENOUGH_IMAGES} {COUNTED[figure]} images, so no gap in {figure} is named."
    lowest, highest = found
    overlap = _overlap(lowest[f"{figure}_interval"], highest[f"{figure}_interval"])
    return (
        f"The largest gap in {figure} is {highest[figure] - lowest[figure]:.3f}: {lowest[figure]:.3f} for "
        f"{lowest['group']} and {highest[figure]:.3f} for {highest['group']}; their intervals "
        f"{'overlap, so chance may explain it' if overlap else 'do not overlap'}."
    )


def _has_enough(group: Group, figure: str) -> bool:
    return bool(group[f"{COUNTED[figure]}_images"] >= ENOUGH_IMAGES)


def _overlap(low: Mapping[str, float], high: Mapping[str, float]) -> bool:
    return low["high"] >= high["low"]
