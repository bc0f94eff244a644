"""What was asked and where it stands, in words for a reader who has never seen a specification."""

from models_store.catalog import ARCHITECTURES, CLASS_WEIGHTS, STRATEGIES, CustomCNN
from models_store.specs import CalibrationSpec, ExperimentSpec, SelectionSpec
from models_store.wording import percent
from service.experiments.report.study import Study

PHASES = ("waiting", "phase 1, screening", "phase 2, fine-tuning", "phase 3, calibration and test")

SELECTION = {
    "val_recall": "the highest recall among epochs whose specificity is at least {floor:.2f}; ties go to the ROC AUC",
    "val_f2": "the highest F2 among epochs whose specificity is at least {floor:.2f}; ties go to the ROC AUC",
    "specificity_at_recall": "the highest specificity at the target recall; ties go to the ROC AUC",
    "val_recall_unguarded": "the highest recall, whatever the specificity",
}


def asked(spec: ExperimentSpec) -> list[tuple[str, str]]:
    """Terms and sentences, in the order in which the study goes."""
    return [
        ("Question", "Is the lesion malignant (melanoma, basal cell carcinoma, actinic keratosis) or benign?"),
        ("Data set", spec.dataset),
        ("Networks screened", ", ".join(spec.architectures)),
        ("Class weights", "; ".join(_class_weight(name) for name in spec.class_weights)),
        ("Initial weights", _weights(spec)),
        (
            "Training",
            f"at most {spec.epochs} epochs, stopped after {spec.patience} without a better one, seed {spec.seed}",
        ),
        ("Best epoch and network", selection(spec.selection)),
        ("Fine-tuning of the winner", "; ".join(_strategy(name) for name in spec.strategies) or "none"),
        ("Threshold", calibration(spec.calibration)),
        ("Images that set the threshold", _calibration_images(spec.calibration)),
    ]


def selection(spec: SelectionSpec) -> str:
    return f"{SELECTION[spec.policy].format(floor=spec.min_specificity)}, on images held out for this alone"


def calibration(spec: CalibrationSpec) -> str:
    """What the policy promises, or what it maximises."""
    recall, fallback = percent(spec.target_recall), f"; if that is impossible, {spec.fallback}" if spec.fallback else ""
    rules = {
        "np_sensitivity": f"the highest that keeps a recall of at least {recall} with {percent(spec.confidence)} "
        "confidence (Neyman-Pearson)",
        "conformal_risk_control": f"the highest whose expected recall is at least {recall} (conformal risk control)",
        "recall_at_precision": f"the highest recall with a precision of at least {percent(spec.min_precision)}",
        "f_beta": f"the best F score, in which recall weighs {spec.beta:g} times",
        "cost": f"the lowest cost, a missed malignancy costing {spec.false_negative_cost:g} extra biopsies",
        "youden": "the highest sum of recall and specificity (Youden)",
        "fixed": f"{spec.threshold}, fixed beforehand",
    }
    return rules[spec.policy] + fallback


def missing(study: Study) -> tuple[str, str] | None:
    """Why the study has no final figures, as a headline and a reason; None if it has them."""
    experiment, where = study.experiment, PHASES[study.experiment.phase]
    error = experiment.error or {}
    done = f"{percent(round(experiment.progress, 3))} of the study is done"
    match experiment.status:
        case "succeeded" if study.model is not None:
            return None
        case "succeeded":
            return "Incomplete record", "The study ended well, but its model is no longer in the database."
        case "queued":
            return "Not begun", "The study waits for a worker. Nothing was trained yet."
        case "running":
            return "Still running", f"The study is in {where}; {done}. Every table may change until it ends."
        case "failed":
            reason = f"{error.get('kind', 'Failed')}: {error.get('message', 'no reason was recorded')}"
            return "Failed", f"The study ended in {where}. {reason}"
        case _:
            return "Cancelled", f"The study was cancelled in {where}; {done}."


def _calibration_images(spec: CalibrationSpec) -> str:
    if spec.reuse:
        return "all validation images, which chose the epoch as well: this voids the guarantee"
    if spec.source == "train":
        return f"all validation images; epoch and network are chosen on {percent(spec.share)} of train, held out"
    return f"{percent(spec.share)} of the validation images, held back from every other choice"


def _class_weight(name: str) -> str:
    weights = CLASS_WEIGHTS[name]
    return f"{name}: {'none' if weights is None else f'a malignant image weighs {weights[1]:g} times a benign one'}"


def _strategy(name: str) -> str:
    return f"{name} ({STRATEGIES[name].change})"


def _weights(spec: ExperimentSpec) -> str:
    if all(isinstance(ARCHITECTURES[name], CustomCNN) for name in spec.architectures):
        return "random: networks of this kind have no others"
    if spec.weights == "none":
        return "random everywhere, also for networks made for ImageNet weights"
    return "ImageNet for the pretrained bases, random for the rest"
