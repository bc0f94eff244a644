"""Where the store keeps each kind of file."""

from datetime import UTC, datetime

# The folder of each kind.
FOLDERS = {
    "models": "models",
    "checkpoints": "trials",
    "resume_points": "resume",
    "datasets": "datasets",
    "prediction_images": "predictions",
}


def prediction_image(prediction_id: str, created_at: datetime) -> str:
    """The key of the image of a prediction."""
    return f"{FOLDERS['prediction_images']}/{created_at.astimezone(UTC):%Y-%m-%d}/{prediction_id}"
