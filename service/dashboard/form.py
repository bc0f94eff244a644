"""The form for a new experiment, generated from the API's specification, and the mistakes in what it submits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError
from starlette.datastructures import FormData

from models_store.contract.catalog import (
    ARCHITECTURES,
    CLASS_WEIGHTS,
    STRATEGIES,
    Architecture,
    CustomCNN,
    TransferModel,
)
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import ExperimentSpec

Json = Mapping[str, Any]
Kind = Literal["text", "number", "select", "checks", "check"]

# What most people set; the rest is in collapsed groups.
MAIN_FIELDS = (
    *("name", "dataset", "architectures", "recipe", "class_weights"),
    *("strategies", "epochs", "promote", "queue"),
)
LABELS = {"dataset": "Data set", "f_beta": "F beta", "seed": "Seed", "share": "Held-out share"}
NOTES = {
    "val_recall": "the highest recall with enough specificity",
    "specificity_at_recall": "the highest specificity at the target recall, at any threshold",
    "val_f2": "the highest F2 with enough specificity",
    "val_recall_unguarded": "recall alone: favours networks that classify everything as malignant",
    "np_sensitivity": "guarantees the recall with the given confidence (Neyman-Pearson)",
    "conformal_risk_control": "guarantees the expected recall",
    "recall_at_precision": "the highest recall at the minimum precision",
    "f_beta": "the best F score",
    "cost": "the lowest cost of misses and extra biopsies",
    "youden": "the highest sum of recall and specificity",
    "fixed": "the threshold entered below",
    "imagenet": "pretrained",
    "none": "random weights",
    "classic": RECIPES["classic"].description,
    "modern": RECIPES["modern"].description,
    "if_better": "if it beats the champion on the same data set",
}


# The sizes of MedMNIST+, and twice its smaller ones.
OFFERED_SIZES = (28, 56, 64, 112, 128, 224)


@dataclass(frozen=True)
class Choice:
    """One possible value of a field."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Field:
    """One input. `name` is the path in the specification, joined by dots; an empty input takes the `default`."""

    name: str
    kind: Kind
    hint: str
    default: Any = None
    choices: Sequence[Choice] = ()
    minimum: float | None = None
    maximum: float | None = None
    is_whole: bool = False
    is_required: bool = False
    max_length: int | None = None

    @property
    def label(self) -> str:
        last = self.name.rpartition(".")[2]
        return LABELS.get(last, last.replace("_", " ").capitalize())

    @property
    def remedy(self) -> str:
        """A valid input, derived from the specification."""
        if self.kind in ("select", "checks"):
            return "Choose one from the list." if self.kind == "select" else "Choose at least one."
        if self.kind == "number":
            bounds = [
                f"{word} {bound:g}"
                for word, bound in (("from", self.minimum), ("to", self.maximum))
                if bound is not None
            ]
            return " ".join(["Enter a", "whole number" if self.is_whole else "number", *bounds]) + "."
        return f"Enter at most {self.max_length} printable characters." if self.max_length else "Correct it."


@dataclass(frozen=True)
class Group:
    """Related fields under one heading."""

    name: str
    hint: str
    fields: Sequence[Field]

    @property
    def label(self) -> str:
        return self.name.capitalize()


def sections(datasets: Sequence[Choice]) -> tuple[list[Field], list[Group]]:
    """The fields that are always visible, and the collapsed groups."""
    schema = ExperimentSpec.model_json_schema()
    plain, groups = [], []
    for name, property in schema["properties"].items():
        if "$ref" in property:
            nested = schema["$defs"][property["$ref"].rpartition("/")[2]]
            fields = [_field(f"{name}.{key}", inner, schema, datasets) for key, inner in nested["properties"].items()]
            groups.append(Group(name, nested.get("description", ""), fields))
        else:
            plain.append(_field(name, property, schema, datasets))
    by_name = {field.name: field for field in plain}
    rest = [field for field in plain if field.name not in MAIN_FIELDS]
    return [by_name[name] for name in MAIN_FIELDS], [Group("training", "Settings of every trial.", rest), *groups]


def all_fields(fields: Iterable[Field], groups: Iterable[Group]) -> list[Field]:
    return [*fields, *(field for group in groups for field in group.fields)]


def initial_values(preset: Json, fields: Iterable[Field]) -> dict[str, Any]:
    """The values of the inputs for a partial specification, with the defaults of choices."""
    values: dict[str, Any] = {}
    for field in fields:
        outer, _, inner = field.name.partition(".")
        given = preset.get(outer, {}).get(inner) if inner else preset.get(outer)
        shown = field.default if given is None and field.kind in ("checks", "select", "check") else given
        values[field.name] = [str(one) for one in shown] if isinstance(shown, list | tuple) else shown
    return values


def parsed(form: FormData, fields: Iterable[Field]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The specification from the form without empty fields, and the values to show again."""
    spec: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for field in fields:
        outer, _, inner = field.name.partition(".")
        value: Any
        if field.kind == "checks":
            value = [str(one) for one in form.getlist(field.name)]
        elif field.kind == "check":
            value = field.name in form
        else:
            value = str(form.get(field.name, "")).strip()
        values[field.name] = value
        if value != "":
            is_number = field.kind == "select" and field.is_whole and value.isdigit()
            (spec.setdefault(outer, {}) if inner else spec)[inner or outer] = int(value) if is_number else value
    return spec, values


def mistakes(error: ValidationError, fields: Iterable[Field]) -> dict[str, str]:
    """Messages by the name of the field; the empty name has the message that concerns no single field."""
    known = {field.name for field in fields}
    found: dict[str, str] = {}
    for wrong in error.errors():
        path = [str(part) for part in wrong["loc"]]
        message = str(wrong["msg"]).removeprefix("Value error, ")
        name = next((name for name in (".".join(path[:2]), ".".join(path[:1])) if name in known), "")
        if not name and "threshold" in message:
            name = "calibration.threshold"
        found.setdefault(name, message)
    return found


def _field(name: str, property: Json, schema: Json, datasets: Sequence[Choice]) -> Field:
    kinds = [part for part in property.get("anyOf", [property]) if part.get("type") != "null"]
    typed = kinds[0]
    base: dict[str, Any] = {
        "name": name,
        "hint": property.get("description", ""),
        "default": property.get("default"),
        "is_required": name in schema["required"],
    }
    if name == "dataset":
        return Field(kind="select", choices=datasets, **base)
    if typed.get("type") == "array":
        return Field(kind="checks", choices=_catalog_choices(name), **base)
    if "enum" in typed:
        empty = [Choice("", "none")] if len(kinds) < len(property.get("anyOf", [property])) else []
        choices = empty + [Choice(str(v), str(v), NOTES.get(str(v), "")) for v in typed["enum"]]
        return Field(kind="select", choices=choices, is_whole=typed.get("type") == "integer", **base)
    if typed.get("type") == "boolean":
        return Field(kind="check", **base)
    if typed.get("type") in ("integer", "number"):
        minimum = typed.get("minimum", typed.get("exclusiveMinimum"))
        maximum = typed.get("maximum", typed.get("exclusiveMaximum"))
        is_whole = typed["type"] == "integer"
        return Field(kind="number", minimum=minimum, maximum=maximum, is_whole=is_whole, **base)
    return Field(kind="text", max_length=typed.get("maxLength"), **base)


def _catalog_choices(name: str) -> list[Choice]:
    if name == "architectures":
        return [Choice(a.name, a.name, f"{_kind_of_network(a)}, {a.hypothesis}") for a in ARCHITECTURES.values()]
    if name == "input_sizes":
        return [Choice(str(size), f"{size}x{size}") for size in OFFERED_SIZES]
    if name == "strategies":
        return [Choice(s.name, s.name, f"{s.change}: {s.hypothesis}") for s in STRATEGIES.values()]
    return [
        Choice(key, key, "no weights" if weights is None else f"malignant images count {weights[1]:g} times")
        for key, weights in CLASS_WEIGHTS.items()
    ]


def _kind_of_network(architecture: Architecture) -> str:
    if isinstance(architecture, TransferModel):
        return architecture.base
    return "custom CNN" if isinstance(architecture, CustomCNN) else "convolutional network"
