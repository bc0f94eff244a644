"""Figures that others published on the splits of docs/results.md, as rows of its tables."""

from models_store.contract.figures import Confusion

# DermaMNIST's official split, 28x28, a custom CNN; its threshold came without a guarantee, its AUC without an interval.
PUBLISHED = Confusion(tn=1026, fp=587, fn=33, tp=359)
PUBLISHED_ROC_AUC = 0.877

Row = tuple[str, ...]


def _malignant(who: str, auc: float, counts: Confusion) -> Row:
    positives, negatives = counts.tp + counts.fn, counts.tn + counts.fp
    recall = f"{counts.tp / positives:.3f} ({counts.tp}/{positives})"
    specificity = f"{counts.tn / negatives:.3f} ({counts.tn:,}/{negatives:,})"
    return (who, f"{auc:.3f}", recall, specificity, "–", "–", "–", "–")


def _seven(who: str, macro_auc: float, accuracy: float) -> Row:
    return (who, "–", "–", "–", "–", f"{macro_auc:.3f}", f"{accuracy:.3f}", "–")


MALIGNANT: dict[str, list[Row]] = {"dermamnist": [_malignant("the published study", PUBLISHED_ROC_AUC, PUBLISHED)]}
# Doerrich et al., Scientific Reports 2025 (MedMNIST at 28 pixels); Yang et al., Scientific Data 10:41 (2023); the logs
# beside Abhishek et al., Scientific Data 12:196 (2025), means of three runs.
SEVEN_DIAGNOSES: dict[str, list[Row]] = {
    "dermamnist": [
        _seven("ResNet-18 from scratch, 28 pixels (Yang et al. 2023)", 0.917, 0.735),
        _seven("VGG16 from ImageNet, 28 pixels (Doerrich et al. 2025)", 0.927, 0.766),
    ],
    "dermamnist_c": [
        _seven("ResNet-18 from scratch, 28 pixels (Abhishek et al. 2025)", 0.946, 0.825),
        _seven("ResNet-50 from scratch, 28 pixels (Abhishek et al. 2025)", 0.943, 0.831),
        _seven("ResNet-18 from scratch, 224 pixels (Abhishek et al. 2025)", 0.953, 0.847),
    ],
}

# Earlier evaluations, of which the script has no record. Add to them, remove none.
EARLIER_LOOKS = (
    "2026-11-24: the preset `laptop` when it still ranked by `val_recall`, seed 42, winner CNN_v1/HighDropout: recall "
    "0.893 (350 of 392), specificity 0.616 (993 of 1,613), ROC AUC 0.848. The selection figures alone would have said "
    "why (one image of recall outweighed 0.05 of AUC), but the preset was changed after this look, not before it.",
    "2026-11-24: the preset `laptop` of commit 9a105cc, seed 42, winner CNN_v1/Freeze10: recall 0.931 (365 of 392), "
    "specificity 0.626 (1,009 of 1,613), ROC AUC 0.876.",
    "2026-11-28: `earlier` on grouped-0, 1 and 2 at 28 pixels; `laptop` on these, on the same splits at 64 pixels, on "
    "dermamnist_28 and dermamnist_c_28; `best` on grouped-0, 1 and 2 at 28 pixels, dermamnist_28 and dermamnist_c_28. "
    "Their scores were not kept. `best` was then three seeds of each network of `laptop`; it got its present networks "
    "after these looks, chosen on validation images of a split of its own seed, grouped-100.",
    "The measurements of docs/selection.md and docs/guarantee.md score the test set of `ham10000_28` too, with "
    "networks and seeds of their own.",
)
