"""Sentences on the outcomes of a model, which page, API, log and webhook share."""

from models_store.monitoring.live_recall import MIN_VERIFIED, LiveRecall
from models_store.wording import interval, measured_percent, percent, rate, target

ASSUMPTION = "The correction assumes that malignant and benign images with the same label are verified equally often."


def sentences(live: LiveRecall) -> list[str]:
    """The share verified, recall or why it is withheld, and the promise."""
    return [_verified(live), *_recall(live), promise(live)]


def promise(live: LiveRecall) -> str:
    if live.target_recall is None:
        return "The model promises no recall, so that none is tested."
    promised = f"The promised recall of at least {target(live.target_recall)}"
    if live.evidence is None:
        return f"{promised} is not tested: too few images are verified."
    against = f"evidence against it {live.evidence:.3g}, the alert is raised at {live.alert_at:.3g}"
    return f"{promised} is in doubt: {against}." if live.is_in_doubt else f"{promised} is not in doubt: {against}."


def _verified(live: LiveRecall) -> str:
    parts = (
        f"{calls.verified:,} of {calls.images:,} images called {label}"
        + ("" if calls.share is None else f" ({measured_percent(calls.share)})")
        for label, calls in (("malignant", live.malignant), ("benign", live.benign))
    )
    return f"Verified: {' and '.join(parts)}."


def _recall(live: LiveRecall) -> list[str]:
    shown = live.estimate
    if shown is not None:
        limits = f"exact {percent(live.confidence)} interval {interval(vars(shown))}"
        recall = f"Live recall is {rate(shown.recall)} ({limits})."
        if rate(shown.recall) == rate(shown.among_verified):
            return [recall]
        without = f"among verified images alone it is {rate(shown.among_verified)}"
        return [recall, f"It is corrected for the shares verified; {without}.", ASSUMPTION]
    if min(live.malignant.verified, live.benign.verified) >= MIN_VERIFIED:
        return ["Recall is withheld: no verified image is malignant."]
    return [
        f"Recall is withheld: it takes {MIN_VERIFIED} verified images of each label. Missed cancers are among the "
        "images called benign; while few of these are verified, recall among verified images looks too good."
    ]
