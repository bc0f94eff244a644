"""What `/predict` answers."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models_store.catalog import DISCLAIMER

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


class Prediction(BaseModel):
    """One image, judged by one model at that model's threshold: malignant if the probability reaches it."""

    prediction_id: str = Field(examples=["prd_7d8e9fa0b1c24d3e8f7a6b5c4d3e2f10"])
    label: Literal["malignant", "benign"]
    probability_malignant: float = Field(ge=0, le=1, examples=[0.37])
    threshold: float = Field(examples=[0.31])
    model_version: str = Field(examples=["mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e"])
    dataset: str = Field(examples=["dermamnist"])
    guarantee: dict[str, Any] = Field(examples=[GUARANTEE_EXAMPLE], description="What the threshold promises.")
    warnings: list[WarningRead]
    disclaimer: str = Field(DISCLAIMER, examples=[DISCLAIMER])
