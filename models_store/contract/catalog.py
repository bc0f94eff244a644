"""The choices of an experiment as data: architectures, fine-tuning strategies, class weights, presets."""

from dataclasses import dataclass
from typing import Any, Literal

Base = Literal["ResNet50", "VGG16", "EfficientNetB0", "EfficientNetLite0"]
Unfreeze = int | Literal["all"]

DISCLAIMER = "For research and education only. Not a medical device; never use it to diagnose or treat a person."


@dataclass(frozen=True)
class CustomCNN:
    """[Conv2D → BatchNorm → MaxPool → Dropout] × depth; filters double in each block, dropout grows with depth."""

    name: str
    filters: int
    depth: int
    dropout: float
    dense: int
    learning_rate: float
    batch_size: int
    hypothesis: str


@dataclass(frozen=True)
class ConvNet:
    """[(Conv2D 3x3 → BatchNorm → ReLU) × 2 → MaxPool] for each of `filters`, global average pool, dropout."""

    name: str
    filters: tuple[int, ...]
    dropout: float
    learning_rate: float
    batch_size: int
    hypothesis: str


@dataclass(frozen=True)
class TransferModel:
    """UpSampling → ImageNet base → global average pool → head; `unfreeze` counts layers of the base from the top."""

    name: str
    base: Base
    unfreeze: Unfreeze
    dropout: float
    dense: int
    learning_rate: float
    hypothesis: str
    batch_size: int = 32


Architecture = CustomCNN | ConvNet | TransferModel
# These start from random weights, and a fine-tuning strategy from the checkpoint of the winner.
FROM_SCRATCH = (CustomCNN, ConvNet)


@dataclass(frozen=True)
class Strategy:
    """A Phase-2 change to the Phase-1 winner. `None` keeps the winner's own value."""

    name: str
    unfreeze: Unfreeze
    dropout: float | None
    learning_rate: float | None
    change: str
    hypothesis: str


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        CustomCNN("CNN_v1", 32, 3, 0.5, 512, 0.001, 64, "baseline small"),
        CustomCNN("CNN_v2", 64, 4, 0.4, 256, 0.001, 64, "deeper, wider"),
        CustomCNN("CNN_v3", 128, 4, 0.3, 512, 0.0005, 32, "high capacity"),
        TransferModel("ResNet_v1", "ResNet50", 0, 0.5, 256, 0.001, "feature extraction only"),
        TransferModel("ResNet_v2", "ResNet50", 20, 0.5, 256, 0.0001, "partial fine-tuning"),
        TransferModel("ResNet_v3", "ResNet50", "all", 0.5, 256, 0.0001, "full fine-tuning"),
        TransferModel("ResNet_v4", "ResNet50", "all", 0.7, 128, 0.00005, "anti-overfit + slow"),
        TransferModel("VGG_v1", "VGG16", 0, 0.5, 256, 0.001, "feature extraction"),
        TransferModel("VGG_v2", "VGG16", 4, 0.5, 256, 0.0001, "last conv block"),
        TransferModel("VGG_v3", "VGG16", "all", 0.6, 512, 0.00005, "full fine-tune"),
        TransferModel("EffNet_v1", "EfficientNetB0", 0, 0.5, 256, 0.001, "feature extraction"),
        TransferModel("EffNet_v2", "EfficientNetB0", 30, 0.4, 256, 0.0001, "partial fine-tuning"),
        TransferModel("EffNet_v3", "EfficientNetB0", "all", 0.5, 128, 0.00005, "full fine-tune"),
        ConvNet("ConvNet_v1", (32, 64, 128), 0.3, 0.002, 64, "small, with two convolutions a block"),
        TransferModel(
            "EffLite_v1", "EfficientNetLite0", "all", 0.3, 0, 0.0005, "full fine-tune, weights that install with it"
        ),
    )
}
# The study's thirteen, which an experiment screens unless it names others.
STUDY = tuple(name for name in ARCHITECTURES if name not in ("ConvNet_v1", "EffLite_v1"))
# Networks whose input size the spec may set: the graph resizes the images.
RESIZING = ("EffLite_v1",)
# Input sizes otherwise: an ImageNet base needs many pixels, and a small network on two cores few.
MIN_OF_A_BASE, MAX_OF_A_SMALL_NETWORK = 56, 32
UPSAMPLING = 2


def input_size_of(architecture: str, requested: int | None, image_size: int) -> int:
    """The side in pixels at which a network takes an image of `image_size`; `requested` is the trial's `input_size`."""
    if requested is not None:
        return requested
    match ARCHITECTURES[architecture]:
        case ConvNet():
            return min(image_size, MAX_OF_A_SMALL_NETWORK)
        case CustomCNN():
            return image_size
        case TransferModel():
            return max(image_size, MIN_OF_A_BASE) if architecture in RESIZING else UPSAMPLING * image_size


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy("Freeze10", 10, None, None, "only the top 10 layers train", "conservative, stable"),
        Strategy("Freeze20", 20, None, None, "top 20 layers", "balanced"),
        Strategy("HighDropout", "all", 0.7, None, "dropout 0.7", "anti-overfitting"),
        Strategy("LowLR", "all", None, 0.00005, "lr 0.00005", "stability"),
    )
}

# Weight of the malignant class (1) relative to the benign class (0); W0 leaves the loss unweighted.
CLASS_WEIGHTS: dict[str, dict[int, float] | None] = {"W0": None, "W3": {0: 1.0, 1: 3.0}, "W5": {0: 1.0, 1: 5.0}}


Preset = dict[str, Any]

# docs/recipe.md compares these choices as far as they were measured.
ENSEMBLE_OF_KINDS: Preset = {
    "architectures": ["ConvNet_v1", "EffLite_v1"],
    "class_weights": ["W0"],
    "recipe": "modern",
    "epochs": 24,
    # At 0.5 a few lesions would decide between networks with very different AUC; the threshold is set later anyway.
    "selection": {"policy": "specificity_at_recall"},
    "strategies": [],
    "promote": "if_better",
}

PRESETS: dict[str, Preset] = {
    # Minutes on two cores: tests the whole path, and its figures say little about a model. In so few epochs the recall
    # at 0.5 still varies strongly from epoch to epoch; the ranking of the scores is more stable.
    "demo": {
        "name": "demo",
        "architectures": ["CNN_v1"],
        "class_weights": ["W3"],
        "epochs": 5,
        "patience": 4,
        "selection": {"policy": "specificity_at_recall"},
        "strategies": ["HighDropout", "LowLR"],
        "promote": "always",
    },
    # Two networks of different kinds, averaged.
    "laptop": {"name": "laptop", **ENSEMBLE_OF_KINDS, "final": {"views": 8, "ensemble": 2}},
    # The pretrained network at two input sizes; of all that docs/recipe.md compares, the larger one gains most.
    "best": {"name": "best", **ENSEMBLE_OF_KINDS, "input_sizes": [56, 112], "final": {"views": 8, "ensemble": 3}},
    # Every architecture; needs a GPU.
    "full": {"name": "full", "promote": "if_better"},
}
