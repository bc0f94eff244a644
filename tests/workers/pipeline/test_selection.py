"""The rule that chooses epochs and trials."""

import pytest

from models_store.contract.specs import SelectionPolicy, SelectionSpec
from models_store.experiment.selection import collapse_reason, policy_for, ranked


def metrics(recall: float, specificity: float, auc: float, f2: float = 0.5, at_recall: float = 0.5) -> dict[str, float]:
    return {
        "val_recall": recall,
        "val_specificity": specificity,
        "val_auc": auc,
        "val_f2": f2,
        "val_specificity_at_recall": at_recall,
    }


EPOCHS = {
    1: metrics(0.70, 0.80, 0.85, f2=0.66, at_recall=0.60),
    2: metrics(1.00, 0.05, 0.74, f2=0.56, at_recall=0.20),
    3: metrics(0.90, 0.60, 0.86, f2=0.70, at_recall=0.61),
    4: metrics(0.90, 0.55, 0.88, f2=0.69, at_recall=0.66),
    5: metrics(0.85, 0.75, 0.87, f2=0.74, at_recall=0.66),
    6: metrics(1.00, 0.08, 0.90, f2=0.57, at_recall=0.65),
}


@pytest.mark.parametrize(
    ("policy", "epoch"),
    [("val_recall", 4), ("val_recall_unguarded", 2), ("val_f2", 5), ("specificity_at_recall", 4)],
)
def test_each_policy_picks_its_epoch(policy: SelectionPolicy, epoch: int) -> None:
    assert ranked(policy_for(SelectionSpec(policy=policy)), EPOCHS)[0] == epoch


@pytest.mark.parametrize(("floor", "epoch"), [(0.0, 6), (0.55, 4), (0.56, 3), (0.61, 5), (0.8, 1), (0.81, None)])
def test_the_floor_is_reached_at_or_above_it(floor: float, epoch: int | None) -> None:
    first, *_ = [*ranked(policy_for(SelectionSpec(min_specificity=floor)), EPOCHS), None]
    assert first == epoch


def test_the_first_of_equals_wins() -> None:
    same = metrics(0.9, 0.6, 0.8)

    assert ranked(policy_for(SelectionSpec()), {"first": same, "second": dict(same)}) == ["first", "second"]


def test_a_network_that_calls_everything_malignant_never_wins_with_a_guarded_policy() -> None:
    collapsed = metrics(1.0, 0.0, 0.5, f2=0.55, at_recall=0.0)
    weak = metrics(0.3, 0.9, 0.6, f2=0.3, at_recall=0.02)

    for policy in ("val_recall", "val_f2", "specificity_at_recall"):
        assert ranked(policy_for(SelectionSpec(policy=policy)), {"collapsed": collapsed, "weak": weak}) == ["weak"]


def test_no_candidates_have_no_winner() -> None:
    assert ranked(policy_for(SelectionSpec()), {}) == []


def test_the_reason_of_a_collapse_names_the_floor_and_the_closest_epoch() -> None:
    epochs = [metrics(1.0, 0.1, 0.7), metrics(0.95, 0.31, 0.7), metrics(1.0, 0.2, 0.7)]

    reason = collapse_reason(policy_for(SelectionSpec(min_specificity=0.5)), epochs)

    assert reason == "no epoch of 3 reached validation specificity 0.50; the best was 0.31 at epoch 2"
