"""The page of the ablation: what each change is compared with, and what is missing."""

from pathlib import Path

import numpy as np

from benchmarks.recipe_page import Variant, page

LABELS = np.array([4] * 20 + [0] * 20 + [5] * 60)  # 4 and 0 are malignant, 5 is benign
STANDARD = Variant("as it is", "EffLite_v1")
SHORTER = Variant("half as many epochs", "EffLite_v1", epochs=8)
LARGER = Variant("input size 84", "EffLite_v1", epochs=8, input_size=84)
LONGER = Variant("half again as many epochs", "EffLite_v1", epochs=24)


def keep(variant: Variant, folder: Path, mistakes: int) -> None:
    """Keeps probabilities that rank `mistakes` malignant images below every benign one."""
    right = np.where(np.isin(LABELS, (0, 4)), 0.9, 0.1)
    right[:mistakes] = 0.0
    path = variant.scores(folder, "grouped-100_28")
    path.parent.mkdir(exist_ok=True)
    probabilities = np.stack([1 - right, right], axis=1)
    np.savez(path, labels=LABELS, views_1=probabilities, views_8=probabilities)


def rows(text: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {line[0]: line for line in cells}


def test_change_is_compared_with_the_recipe_as_it_is_trained_as_long(tmp_path: Path) -> None:
    for mistakes, variant in enumerate((STANDARD, LARGER, SHORTER, LONGER)):
        keep(variant, tmp_path, mistakes)

    found = rows(page([STANDARD, SHORTER, LARGER, LONGER], tmp_path))

    assert found["as it is"][6] == "–"
    assert found["half as many epochs"][6].startswith("-0.050")  # 2 of 40, from the 16 epochs
    assert found["input size 84"][6].startswith("+0.025")  # 1 of 40 less, from the 8 epochs
    assert found["half again as many epochs"][6].startswith("-0.075")  # no other has 24 epochs


def test_page_names_the_networks_that_are_not_trained(tmp_path: Path) -> None:
    keep(STANDARD, tmp_path, 0)

    text = page([STANDARD, LARGER], tmp_path)

    assert "Not trained yet: input size 84, EffLite v1, W0, 8 epochs, seed 0." in text
    assert "input size 84" not in rows(text)
