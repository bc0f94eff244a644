"""The model card, generated from the record. Its words are in `card.md.j2`; nothing in it is typed by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models_store import wording
from models_store.contract.catalog import (
    ARCHITECTURES,
    CLASS_WEIGHTS,
    DISCLAIMER,
    FROM_SCRATCH,
    STRATEGIES,
    Architecture,
    ConvNet,
    CustomCNN,
    TransferModel,
    input_size_of,
)
from models_store.contract.figures import Evaluation
from models_store.contract.recipes import RECIPES
from models_store.contract.records import About, AnswerTime, CalibrationRecord
from models_store.contract.specs import TrialSpec
from models_store.datasets.citations import CITATIONS
from models_store.wording import estimates, groups

# Of DermaMNIST and HAM10000; a model made from generated images carries the licence of the program that made both.
LICENCE_OF_THE_DATA = "cc-by-nc-4.0"
LICENCE_OF_THE_PROGRAM = "apache-2.0"

RANDOM_BASE = "random, also for the base that was made for ImageNet weights"

METRIC_TYPES = {
    "recall": "recall",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "f1",
    "f2": "f2",
    "roc_auc": "roc_auc",
    "pr_auc": "average_precision",
}

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    autoescape=False,  # Markdown; names come from the catalog, match a strict pattern, or pass `_in_a_table`
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= wording.FILTERS


def model_card(
    about: About,
    calibration: CalibrationRecord,
    evaluation: Evaluation,
    answer: AnswerTime,
    environment: Mapping[str, Any],
) -> str:
    """Markdown with a Hugging Face metadata header (YAML).

    `environment` names the machine and the commit of the final evaluation. Items covered:
    Collins et al., TRIPOD+AI, BMJ 385 (2024).
    """
    figures = evaluation.model_dump(mode="json")
    return TEMPLATES.get_template("card.md.j2").render(
        about=about,
        publications=CITATIONS,
        trial=about.trial,
        data=about.data,
        calibration=calibration,
        decision=calibration.decision,
        guarantee=calibration.guarantee,
        probabilities=calibration.probabilities,
        test=figures,
        answer=answer,
        network_runs=about.views * max(1, len(about.members)),
        environment=environment,
        disclaimer=DISCLAIMER,
        licence=licence_of(about),
        architecture=_architecture(about),
        class_weight=CLASS_WEIGHTS[about.trial.class_weight],
        strategy=STRATEGIES.get(about.trial.strategy or ""),
        random_base=_initial_weights(about) == RANDOM_BASE,
        initial_weights=_initial_weights(about),
        epochs=_epochs(about),
        augmentation=RECIPES[about.trial.recipe].augmentation,
        selection_rule=wording.selection_rule(about.selection),
        optimizer={"adam": "Adam", "adamw": "AdamW"}[RECIPES[about.trial.recipe].optimizer],
        metric_types=METRIC_TYPES,
        at_the_sample=wording.figure_rows(figures),
        at_the_prevalence=wording.figure_rows(figures, ("ppv", "npv")),
        leak_free=None if evaluation.leak_free is None else wording.figure_rows(figures["leak_free"]),
        at_half=wording.figure_rows(figures["at_half"]),
        likelihood_ratios=estimates.likelihood_rows(figures),
        calibration_estimates=estimates.calibration_rows(figures),
        net_benefit=estimates.net_benefit_rows(figures),
        net_benefit_sentence=estimates.net_benefit_sentence(figures) if evaluation.decision_curve else None,
        new_lesions=wording.new_lesions(figures, about.dataset),
        rest_of_test_set=None if evaluation.leak_free is None else wording.rest_of_test_set(figures),
        groupings=groups.described([_in_a_table(grouping) for grouping in figures["groupings"]]),
        seven=figures["seven"],
    )


def licence_of(about: About) -> str:
    """The SPDX identifier, in lower case, of a model and of what it was made from."""
    return LICENCE_OF_THE_PROGRAM if about.synthetic else LICENCE_OF_THE_DATA


def _in_a_table(grouping: Mapping[str, Any]) -> dict[str, Any]:
    """Escapes the names of groups, which come from a file, so that they cannot end a cell or a line."""
    named = ({**group, "group": " ".join(group["group"].replace("|", "/").split())} for group in grouping["groups"])
    return {**grouping, "groups": list(named)}


def _architecture(about: About) -> str:
    architecture, trial = ARCHITECTURES[about.architecture], about.trial
    recipe = RECIPES[trial.recipe]
    outputs = "the seven diagnoses" if recipe.target == "diagnosis" else "benign and malignant"
    return f"{_network(architecture, about)} and a softmax over {outputs}; recipe {recipe.name}: {recipe.description}"


def _epochs(about: About) -> str:
    epochs = about.trial.most_epochs(about.epochs)
    if RECIPES[about.trial.recipe].stops_early:
        return f"at most {epochs} epochs, stopped after {about.patience} without a better one"
    return f"{epochs} epochs, of which the last eligible one is kept"


def _network(architecture: Architecture, about: About) -> str:
    size = about.image_size
    if isinstance(architecture, CustomCNN):
        return (
            f"{architecture.name}, a convolutional network of {architecture.depth} blocks (convolution, batch "
            f"normalisation, pooling, dropout) on the {size}x{size} RGB image that begins with {architecture.filters} "
            f"filters and doubles them, a dense layer of {architecture.dense}"
        )
    if isinstance(architecture, ConvNet):
        pixels = input_size_of(architecture.name, None, size)
        filters = ", ".join(map(str, architecture.filters))
        resized = f" resized to {pixels}x{pixels}" if pixels != size else ""
        return (
            f"{architecture.name}, a convolutional network of {len(architecture.filters)} blocks (two convolutions, "
            f"each with batch normalisation, and pooling) of {filters} filters on the "
            f"{size}x{size} RGB image{resized}, global average pooling"
        )
    return _transfer_network(architecture, about.trial, size)


def _transfer_network(architecture: TransferModel, trial: TrialSpec, size: int) -> str:
    trained = "all of its layers train" if trial.unfreeze == "all" else f"its top {trial.unfreeze} layers train"
    seen = input_size_of(architecture.name, trial.input_size, size)
    resized = "as it is" if seen == size else f"resized to {seen}x{seen}"
    dense = f", a dense layer of {architecture.dense}" if architecture.dense else ""
    return (
        f"{architecture.name}, {architecture.base} ({trained if trial.unfreeze else 'frozen'}) on the "
        f"{size}x{size} RGB image {resized}, global average pooling{dense}"
    )


def _initial_weights(about: About) -> str:
    if about.trial.starts_from is not None:
        return "those of an earlier trial of the same experiment"
    if isinstance(ARCHITECTURES[about.architecture], FROM_SCRATCH):
        return "random, as for every network of this kind"
    return "ImageNet, for the base" if about.weights == "imagenet" else RANDOM_BASE
