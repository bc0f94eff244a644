"""The folder of each kind of file in the store, with which its keys begin."""

from datetime import UTC, datetime

# The folder of each kind.
FOLDERS = {
    "models": "models",
    "checkpoints": "trials",
    "resume_points": "resume",
    "datasets": "datasets",
    "prediction_images": "predictions",
}


def model_bundle(version: str) -> str:
    """The folder of the bundle of a model."""
    return f"{FOLDERS['models']}/{version}"


def trial_checkpoints(trial_id: str) -> str:
    """The folder of the checkpoints of every attempt at a trial."""
    return f"{FOLDERS['checkpoints']}/{trial_id}"


def trial_resume_points(trial_id: str) -> str:
    """The folder of the resume points of a trial."""
    return f"{FOLDERS['resume_points']}/{trial_id}"


def dataset_file(name: str) -> str:
    """The key of a file of a registered data set."""
    return f"{FOLDERS['datasets']}/{name}"


def prediction_image(prediction_id: str, created_at: datetime) -> str:
    """The key of the image of a prediction."""
    return f"{FOLDERS['prediction_images']}/{created_at.astimezone(UTC):%Y-%m-%d}/{prediction_id}"
