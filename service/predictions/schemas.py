"""What `/predict` answers."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models_store.contract.catalog import DISCLAIMER

GUARANTEE_EXAMPLE: dict[str, Any] = {
    "holds": True,
    "kind": "confidence",
    "target_recall": 0.9,
    "confidence": 0.95,
    "positives": 98,
    "allowed_misses": 4,
    "seen_misses": 4,
    "sentence": "With 95 % confidence, at least 90 % of malignant images like those of the calibration set are called "
    "malignant.",
}


class WarningRead(BaseModel):
    """A reason to trust the answer less; `code` is stable, for programs."""

    model_config = ConfigDict(from_attributes=True)

    code: str = Field(examples=["enlarged"])
    message: str = Field(examples=["The image of 20 x 20 pixels was enlarged to 28 x 28; detail is missing."])


class Explanation(BaseModel):
    """A heatmap: red where covering the image lowers the probability of malignant, blue where it raises it."""

    method: Literal["occlusion"]
    png_base64: str = Field(description="PNG, 224 x 224 pixels.", examples=["iVBORw0KGgo…"])
    strongest_change: float = Field(description="Largest mean change of the probability at any pixel.", examples=[0.2])
    milliseconds: float = Field(description="What the heatmap took.", examples=[60.0])


class Prediction(BaseModel):
    """One image, judged by one model at that model's threshold: malignant if the probability reaches it."""

    prediction_id: str = Field(examples=["prd_7d8e9fa0b1c24d3e8f7a6b5c4d3e2f10"])
    label: Literal["malignant", "benign"]
    probability_malignant: float = Field(ge=0, le=1, examples=[0.37])
    threshold: float = Field(examples=[0.31])
    model_version: str = Field(examples=["mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e"])
    dataset: str = Field(examples=["dermamnist"])
    guarantee: dict[str, Any] = Field(examples=[GUARANTEE_EXAMPLE], description="What the threshold promises.")
    unlikeness: float | None = Field(
        None,
        ge=0,
        description="How far the image's features lie from those of the training images, as a share of the distance "
        "within which 99 % of validation images lie. Above 1 there is the warning `unlike_training`; null where the "
        "model's bundle is from before this was told.",
        examples=[0.41],
    )
    warnings: list[WarningRead]
    explanation: Explanation | None = Field(None, description="With `explain=true` alone.", examples=[None])
    disclaimer: str = Field(DISCLAIMER, examples=[DISCLAIMER])


class PredictionRead(BaseModel):
    """A prediction as it was recorded. The image itself is not kept unless the server's settings say so."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["prd_7d8e9fa0b1c24d3e8f7a6b5c4d3e2f10"])
    created_at: datetime = Field(examples=["2026-01-05T12:00:00Z"])
    label: Literal["malignant", "benign"] = Field(examples=["malignant"])
    probability: float = Field(ge=0, le=1, examples=[0.37])
    threshold: float = Field(examples=[0.31])
    model_version: str = Field(examples=["mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e"])
    dataset: str = Field(examples=["dermamnist"])
    image_sha256: str = Field(examples=["0" * 64])
    image_stored: bool = Field(examples=[False])
    warnings: list[str] = Field(description="Codes of the warnings.", examples=[["enlarged"]])
    key_id: str | None = Field(description="Id of the API key that asked.", examples=[None])


class BatchLine(BaseModel):
    """One line of a batch's answer: a prediction, or the problem that one image has."""

    index: int = Field(ge=0, examples=[0])
    file: str = Field(description="The name that was sent, cut to 200 printable characters.", examples=["lesion.png"])
    prediction: Prediction | None = None
    problem: dict[str, Any] | None = None
