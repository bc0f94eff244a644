"""Every name that an experiment may use."""

from dataclasses import asdict
from typing import get_args

from fastapi import APIRouter

from dermatriage_client.schemas import Catalog, ClassWeightRead
from models_store.contract.catalog import (
    ARCHITECTURES,
    CLASS_WEIGHTS,
    DISCLAIMER,
    PRESETS,
    STRATEGIES,
    ConvNet,
    CustomCNN,
    TransferModel,
)
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import CalibrationPolicy, SelectionPolicy
from service.datasets.reading import show_datasets
from service.dependencies import Reading
from service.web.api_docs import problems

router = APIRouter(tags=["experiments"])

FAMILIES = {CustomCNN: "custom_cnn", ConvNet: "conv_net", TransferModel: "transfer"}


@router.get("/v1/catalog", responses=problems())
def read_catalog(session: Reading) -> Catalog:
    """Every name that an experiment may use, with its meaning."""
    return Catalog(
        architectures=[
            {"family": FAMILIES[type(architecture)], **asdict(architecture)} for architecture in ARCHITECTURES.values()
        ],
        strategies=[asdict(strategy) for strategy in STRATEGIES.values()],
        recipes=[asdict(recipe) for recipe in RECIPES.values()],
        class_weights=[
            ClassWeightRead(name=name, benign=(weights or {}).get(0, 1.0), malignant=(weights or {}).get(1, 1.0))
            for name, weights in CLASS_WEIGHTS.items()
        ],
        selection_policies=list(get_args(SelectionPolicy)),
        calibration_policies=list(get_args(CalibrationPolicy)),
        presets=PRESETS,
        datasets=show_datasets(session),
        disclaimer=DISCLAIMER,
    )
