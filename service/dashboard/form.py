"""The form of a new study, made from the contract that the API validates; and what is wrong with what it sent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError
from starlette.datastructures import FormData

from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, STRATEGIES, CustomCNN
from models_store.contract.specs import ExperimentSpec

Json = Mapping[str, Any]
Kind = Literal["text", "number", "select", "checks", "check"]
Values = Mapping[str, Any]

# What most people set; the rest folds away.
IN_SIGHT = ("name", "dataset", "architectures", "class_weights", "strategies", "epochs", "promote", "queue")
LABELS = {"dataset": "Data set", "f_beta": "F beta", "seed": "Seed", "share": "Share held out"}
NOTES = {
    "val_recall": "the highest recall above the floor of specificity",
    "specificity_at_recall": "the highest specificity at the target recall, whatever the threshold",
    "val_f2": "the highest F2 above the floor of specificity",
    "val_recall_unguarded": "the highest recall alone: favours networks that call everything malignant",
    "np_sensitivity": "keeps the recall with the stated confidence (Neyman-Pearson)",
    "conformal_risk_control": "keeps the expected recall",
    "recall_at_precision": "the highest recall at the least precision",
    "f_beta": "the best F score",
    "cost": "the lowest cost of misses and biopsies",
    "youden": "the highest sum of recall and specificity",
    "fixed": "the threshold given below",
    "imagenet": "pretrained",
    "none": "random; the result says so",
    "if_better": "if it beats the champion on the same data set",
}


@dataclass(frozen=True)
class Choice:
    """One value that a field may have."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Field:
    """One input. `name` is the path in the experiment, joined by dots; `default` is used where it is left empty."""

    name: str
    kind: Kind
    hint: str
    default: Any = None
    choices: Sequence[Choice] = ()
    least: float | None = None
    most: float | None = None
    is_whole: bool = False
    is_required: bool = False
    longest: int | None = None

    @property
    def label(self) -> str:
        last = self.name.rpartition(".")[2]
        return LABELS.get(last, last.replace("_", " ").capitalize())

    @property
    def remedy(self) -> str:
        """What would be right, from the contract itself."""
        if self.kind in ("select", "checks"):
            return "Choose one of those listed." if self.kind == "select" else "Choose at least one."
        if self.kind == "number":
            bounds = [
                f"{word} {bound:g}" for word, bound in (("from", self.least), ("to", self.most)) if bound is not None
            ]
            return " ".join(["Give a", "whole number" if self.is_whole else "number", *bounds]) + "."
        return f"Give at most {self.longest} printable characters." if self.longest else "Correct it."


@dataclass(frozen=True)
class Group:
    """Fields that belong together, under one heading."""

    name: str
    hint: str
    fields: Sequence[Field]

    @property
    def label(self) -> str:
        return self.name.capitalize()


def fields_of(datasets: Sequence[Choice]) -> tuple[list[Field], list[Group]]:
    """The fields in sight, and the groups that fold away."""
    schema = ExperimentSpec.model_json_schema()
    plain, groups = [], []
    for name, property in schema["properties"].items():
        if "$ref" in property:
            nested = schema["$defs"][property["$ref"].rpartition("/")[2]]
            inner = [_field(f"{name}.{key}", of_it, schema, datasets) for key, of_it in nested["properties"].items()]
            groups.append(Group(name, nested.get("description", ""), inner))
        else:
            plain.append(_field(name, property, schema, datasets))
    by_name = {field.name: field for field in plain}
    rest = [field for field in plain if field.name not in IN_SIGHT]
    return [by_name[name] for name in IN_SIGHT], [Group("training", "How each trial trains.", rest), *groups]


def every(fields: Iterable[Field], groups: Iterable[Group]) -> list[Field]:
    return [*fields, *(field for group in groups for field in group.fields)]


def values_of(preset: Json, fields: Iterable[Field]) -> dict[str, Any]:
    """What the inputs show for a partial experiment: its own values, and the names chosen by default."""
    values: dict[str, Any] = {}
    for field in fields:
        outer, _, inner = field.name.partition(".")
        given = preset.get(outer, {}).get(inner) if inner else preset.get(outer)
        shown = field.default if given is None and field.kind in ("checks", "select", "check") else given
        values[field.name] = list(shown) if isinstance(shown, list | tuple) else shown
    return values


def sent(form: FormData, fields: Iterable[Field]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The experiment that the form describes, what is empty left out, and the values to show again."""
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
            (spec.setdefault(outer, {}) if inner else spec)[inner or outer] = value
    return spec, values


def findings(error: ValidationError, fields: Iterable[Field]) -> dict[str, str]:
    """What is wrong, by the name of the field; under the empty name what concerns none of them alone."""
    known = {field.name for field in fields}
    found: dict[str, str] = {}
    for wrong in error.errors():
        path = [str(part) for part in wrong["loc"]]
        message = str(wrong["msg"]).removeprefix("Value error, ")
        name = next((name for name in (".".join(path[:2]), ".".join(path[:1])) if name in known), "")
        if not name:  # the contract's own checks name their field at the start, or need one more
            name = next((name for name in known if message.startswith(f"{name}:")), "")
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
        return Field(kind="checks", choices=_named(name), **base)
    if "enum" in typed:
        empty = [Choice("", "none")] if len(kinds) < len(property.get("anyOf", [property])) else []
        return Field(kind="select", choices=empty + [Choice(v, v, NOTES.get(v, "")) for v in typed["enum"]], **base)
    if typed.get("type") == "boolean":
        return Field(kind="check", **base)
    if typed.get("type") in ("integer", "number"):
        least, most = (
            typed.get("minimum", typed.get("exclusiveMinimum")),
            typed.get("maximum", typed.get("exclusiveMaximum")),
        )
        return Field(kind="number", least=least, most=most, is_whole=typed["type"] == "integer", **base)
    return Field(kind="text", longest=typed.get("maxLength"), **base)


def _named(name: str) -> list[Choice]:
    if name == "architectures":
        return [
            Choice(a.name, a.name, f"{'custom CNN' if isinstance(a, CustomCNN) else a.base}, {a.hypothesis}")
            for a in ARCHITECTURES.values()
        ]
    if name == "strategies":
        return [Choice(s.name, s.name, f"{s.change}: {s.hypothesis}") for s in STRATEGIES.values()]
    return [
        Choice(key, key, "no weights" if weights is None else f"a malignant image weighs {weights[1]:g} times")
        for key, weights in CLASS_WEIGHTS.items()
    ]
