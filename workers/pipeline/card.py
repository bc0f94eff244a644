"""The model card, generated from the record."""

from collections.abc import Mapping
from typing import Any

from models_store.catalog import DISCLAIMER


def model_card(about: Mapping[str, Any], calibration: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """Markdown. `about`, `calibration` and `evaluation` are the bundle's frozen, calibration and metrics files."""
    return "\n".join(
        (
            f"# {about['winner']} on {about['dataset']}",
            "",
            f"**{DISCLAIMER}**",
            "",
            f"Threshold {calibration['threshold']:.4f}. {calibration['guarantee']['sentence']}",
            f"Test recall {evaluation['recall']:.4f}, specificity {evaluation['specificity']:.4f}.",
            "",
        )
    )
