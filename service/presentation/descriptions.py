"""The configuration and the state of an experiment in sentences, for readers who do not know the specification."""

from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, FROM_SCRATCH, STRATEGIES
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, FinalModelSpec, SelectionSpec
from models_store.wording import percent, selection_rule
from service.presentation.experiment import ExperimentRecord

PHASES = ("the queue", "phase 1, screening", "phase 2, fine-tuning", "phase 3, final evaluation")

REMEDIES = {
    "TimeLimitExceeded": "Retry it to continue from the finished trials, or submit it again with a higher limit, fewer "
    "epochs or fewer networks.",
    "TrialCrashed": "Its log shows the last steps. If memory ran out, give the worker fewer slots, then retry.",
    "WorkerLost": "Check that the worker is running and can reach the database, then retry.",
    "collapsed": "No network recognized enough benign lesions: train for longer, use smaller class weights (W0), lower "
    "the minimum specificity, or rank by specificity_at_recall.",
    "NoTrialSucceeded": "The table below gives the reason for each trial.",
    "WeightsUnavailable": "Put the ImageNet weights into WEIGHTS_ROOT and retry, or choose weights none.",
    "DatasetUnavailable": "Put the file into DATA_ROOT and retry, or register it under a new name.",
    "ChecksumMismatch": "The file differs from the named one: download it again, or register it under another name.",
}


def configuration(spec: ExperimentSpec) -> list[tuple[str, str]]:
    """Terms and their descriptions, in the order in which an experiment runs."""
    return [
        ("Question", "Is the lesion malignant (melanoma, basal cell carcinoma, actinic keratosis) or benign?"),
        ("Data set", spec.dataset),
        ("Networks screened", _networks(spec)),
        ("Class weights", "; ".join(_class_weight(name) for name in spec.class_weights)),
        ("Initial weights", _weights(spec)),
        ("Recipe", f"{spec.recipe}: {RECIPES[spec.recipe].description}"),
        ("Training", _training(spec)),
        ("Best epoch and network", _selection(spec.selection)),
        ("Fine-tuning of the winner", "; ".join(_strategy(name) for name in spec.strategies) or "none"),
        ("Final model", _final(spec.final)),
        ("Threshold", _threshold(spec.calibration)),
        ("Images for the threshold", _threshold_images(spec.calibration)),
    ]


def why_unfinished(record: ExperimentRecord) -> tuple[str, str] | None:
    """A headline and a reason if the experiment has no final results; None if it has them."""
    experiment, phase = record.experiment, PHASES[record.experiment.phase]
    error = experiment.error or {}
    done = f"{percent(round(experiment.progress, 3))} of the experiment is done"
    match experiment.status:
        case "succeeded" if record.model is not None:
            return None
        case "succeeded":
            return "Incomplete record", "The experiment succeeded, but its model is no longer in the database."
        case "queued":
            return "Not started", "The experiment is waiting for a worker."
        case "running":
            return "Still running", f"The experiment is in {phase}; {done}. All tables are preliminary."
        case "failed":
            reason = f"{error.get('kind', 'Failed')}: {error.get('message', 'no reason was recorded')}"
            return "Failed", f"The experiment failed in {phase}. {reason}"
        case _:
            return "Cancelled", f"The experiment was cancelled in {phase}; {done}."


def remedy(kind: str) -> str:
    """What to do about an experiment that failed with an error of this kind."""
    return REMEDIES.get(kind, "The log of the failed trial, linked in the table below, has the details.")


def cautions(record: ExperimentRecord) -> list[tuple[str, str]]:
    """Headlines and explanations of everything that limits the results, the most severe first."""
    model, spec, found = record.model, record.spec, []
    if spec.dataset.startswith("synthetic") or (model is not None and model.synthetic):
        text = "A program generated every image. The results mean nothing for skin, lesions or patients."
        found.append(("Synthetic data", text))
    if spec.weights == "none" and not all(isinstance(ARCHITECTURES[name], FROM_SCRATCH) for name in spec.architectures):
        text = "Networks designed for ImageNet weights started from random ones, so their results are not typical."
        found.append(("No ImageNet weights", text))
    if model is not None and not model.calibration["guarantee"]["holds"]:
        found.append(("No guarantee", model.calibration["guarantee"]["sentence"]))
    if record.other_openings:
        count = len(record.other_openings)
        text = (
            f"{count} other {'experiment has' if count == 1 else 'experiments have'} opened the test set of this data "
            f"set, {record.earlier_openings or 'none'} of them before this one. Choosing among them by test results is "
            "selection on the test set and makes the best one appear better than it is."
        )
        found.append(("Test set used more than once", text))
    if spec.selection.policy == "val_recall_unguarded":
        text = "Recall alone chose epoch and network, which favours networks that classify everything as malignant."
        found.append(("Unguarded selection", text))
    return found


def _final(spec: FinalModelSpec) -> str:
    networks = (
        "the winner"
        if spec.ensemble == 1
        else f"the average of the winner and up to {spec.ensemble - 1} other networks"
    )
    return networks + (", averaged over eight rotations and reflections of the image" if spec.views > 1 else "")


def _networks(spec: ExperimentSpec) -> str:
    sizes = f"; images resized to {', '.join(f'{size}x{size}' for size in spec.input_sizes)}" * bool(spec.input_sizes)
    repeats = f"; each trained {spec.repeats} times" if spec.repeats > 1 else ""
    return ", ".join(spec.architectures) + sizes + repeats


def _training(spec: ExperimentSpec) -> str:
    recipe = RECIPES[spec.recipe]
    if not recipe.stops_early:
        fewer = (
            f" ({recipe.pretrained_epochs:.0%} of them from ImageNet weights)" if recipe.pretrained_epochs < 1 else ""
        )
        return f"{spec.epochs} epochs{fewer}, the last eligible one is kept, seed {spec.seed}"
    return f"at most {spec.epochs} epochs, stopped after {spec.patience} without improvement, seed {spec.seed}"


def _selection(spec: SelectionSpec) -> str:
    return f"{selection_rule(spec)}, on images reserved for this choice"


def _threshold(spec: CalibrationSpec) -> str:
    """What the policy guarantees or maximizes."""
    recall = percent(spec.target_recall)
    fallback = f"; if that is impossible, {spec.fallback}" if spec.fallback else ""
    rules = {
        "np_sensitivity": f"the most specific that keeps a recall of at least {recall} with {percent(spec.confidence)} "
        "confidence (Neyman-Pearson)",
        "conformal_risk_control": f"the most specific whose expected recall is at least {recall} (conformal risk "
        "control)",
        "recall_at_precision": f"the highest recall with a precision of at least {percent(spec.min_precision)}",
        "f_beta": f"the best F score with recall weighted {spec.beta:g} times",
        "cost": f"the lowest cost, where a missed malignancy costs {spec.false_negative_cost:g} extra biopsies",
        "youden": "the highest sum of recall and specificity (Youden)",
        "fixed": f"{spec.threshold}, fixed in advance",
    }
    return rules[spec.policy] + fallback


def _threshold_images(spec: CalibrationSpec) -> str:
    if spec.reuse:
        return "all validation images, which also chose the epoch: this voids the guarantee"
    if spec.source == "train":
        return f"all validation images; a held-out {percent(spec.share)} of train chooses epoch and network"
    return f"{percent(spec.share)} of the validation images, used for no other choice"


def _class_weight(name: str) -> str:
    weights = CLASS_WEIGHTS[name]
    return f"{name}: {'none' if weights is None else f'a malignant image counts {weights[1]:g} times a benign one'}"


def _strategy(name: str) -> str:
    return f"{name} ({STRATEGIES[name].change})"


def _weights(spec: ExperimentSpec) -> str:
    if all(isinstance(ARCHITECTURES[name], FROM_SCRATCH) for name in spec.architectures):
        return "random: these networks have no pretrained weights"
    if spec.weights == "none":
        return "random for all networks, including those designed for ImageNet weights"
    return "ImageNet for the pretrained bases, random for the rest"
