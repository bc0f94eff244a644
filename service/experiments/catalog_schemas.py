"""Everything an experiment may name, as it is read."""

from dataclasses import asdict
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field

from models_store.contract.catalog import ARCHITECTURES, DISCLAIMER, PRESETS, STRATEGIES
from models_store.contract.specs import CalibrationPolicy, SelectionPolicy


class ClassWeightRead(BaseModel):
    """Weights of the classes in the loss; without weights both are 1."""

    name: str = Field(examples=["W3"])
    benign: float = Field(examples=[1.0])
    malignant: float = Field(examples=[3.0])


class DatasetRead(BaseModel):
    """A data set an experiment may name; `counts` is known once the file is in the store."""

    name: str = Field(examples=["dermamnist"])
    source: Literal["official", "synthetic", "registered"] = Field(examples=["official"])
    synthetic: bool = Field(examples=[False])
    sha256: str | None = Field(None, examples=[None])
    image_size: int | None = Field(None, examples=[28])
    counts: dict[str, Any] | None = Field(None, examples=[None])


class Catalog(BaseModel):
    """Architectures, strategies, class weights, policies, presets and data sets by name."""

    architectures: list[dict[str, Any]] = Field(
        examples=[[{"family": "custom_cnn", **asdict(ARCHITECTURES["CNN_v1"])}]],
        description="Phase 1 screens these.",
    )
    strategies: list[dict[str, Any]] = Field(
        examples=[[asdict(STRATEGIES["LowLR"])]], description="Phase 2 applies these to the winner of Phase 1."
    )
    class_weights: list[ClassWeightRead]
    selection_policies: list[str] = Field(examples=[list(get_args(SelectionPolicy))])
    calibration_policies: list[str] = Field(examples=[list(get_args(CalibrationPolicy))])
    presets: dict[str, dict[str, Any]] = Field(
        examples=[PRESETS], description="Partial experiments; add a `dataset` and post them."
    )
    datasets: list[DatasetRead]
    disclaimer: str = Field(examples=[DISCLAIMER])
