"""Recipes as data: what a network predicts while it trains, how it is optimised and how its images are augmented."""

from dataclasses import dataclass
from typing import Literal

RecipeName = Literal["classic", "modern"]
Target = Literal["malignant", "diagnosis"]


@dataclass(frozen=True)
class Augmentation:
    """Flips in both directions, and the largest rotation, shift and zoom; borders are reflected.

    `at_once` resamples an image once for all changes together, and otherwise once for each, which blurs it more.
    """

    rotation_degrees: float
    shift: float
    zoom: float
    at_once: bool


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    The target `diagnosis` makes it predict the seven diagnoses; the probability of malignant is then a sum of three.
    Networks from ImageNet weights train the share `pretrained_epochs` of all epochs. With `cosine` the learning rate
    rises over the share `warm_up` of all steps and falls to zero at the last one, so that every epoch is trained and
    the last eligible one is kept. `weight_decay` does not apply to biases and normalisation.
    """

    name: RecipeName
    target: Target
    optimizer: Literal["adam", "adamw"]
    learning_rate: Literal["constant", "cosine"]
    weight_decay: float
    warm_up: float
    label_smoothing: float
    pretrained_epochs: float
    augmentation: Augmentation
    description: str

    @property
    def stops_early(self) -> bool:
        """Whether patience may end a training; a learning rate that falls to zero needs every epoch."""
        return self.learning_rate == "constant"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="classic",
            target="malignant",
            optimizer="adam",
            learning_rate="constant",
            weight_decay=0.0,
            warm_up=0.0,
            label_smoothing=0.0,
            pretrained_epochs=1.0,
            augmentation=Augmentation(rotation_degrees=20, shift=0.15, zoom=0.10, at_once=False),
            description="two classes, Adam, early stopping",
        ),
        Recipe(
            name="modern",
            target="diagnosis",
            optimizer="adamw",
            learning_rate="cosine",
            weight_decay=0.05,
            warm_up=0.05,
            label_smoothing=0.1,
            pretrained_epochs=0.5,
            augmentation=Augmentation(rotation_degrees=180, shift=0.10, zoom=0.10, at_once=True),
            description="seven diagnoses, AdamW with a cosine schedule over every epoch, full rotation",
        ),
    )
}
