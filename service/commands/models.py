"""Predict, list models, change the champion, see every name there is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from models_store.catalog import DISCLAIMER
from service.client import Client, Refused
from service.commands.output import AsJson, Finished, Url, connected, console, notes, show_json, show_table

Reason = Annotated[str, typer.Option(help="Why, for the history.")]
Images = Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False, readable=True)]


def predict(images: Images, url: Url = None, as_json: AsJson = False) -> None:
    """Judge images with the champion; exit code 2 if any cannot be judged."""
    with connected(url) as client:
        answers = [_judge(client, image) for image in images]
    if as_json:
        show_json(answers)
    else:
        show_table(("image", "label", "probability", "threshold", "warnings"), map(_row, answers))
        notes().print(DISCLAIMER)
    if any("error" in answer for answer in answers):
        raise Finished(2)


def models(url: Url = None, as_json: AsJson = False) -> None:
    """List model versions, newest first."""
    with connected(url) as client:
        listed = client.models()
    if as_json:
        show_json(listed)
        return
    if not listed:
        console().print(
            "There is no model yet. Train one: dermatriage submit --preset demo --dataset synthetic --watch"
        )
        return
    show_table(
        ("version", "", "recall", "specificity", "threshold", "winner", "data set", "created"),
        (
            (
                model["version"],
                "champion" if model["champion"] else "",
                _rate(model["metrics"], "recall"),
                _rate(model["metrics"], "specificity"),
                f"{model['threshold']:.4f}",
                model["winner"],
                model["dataset"],
                model["created_at"][:19],
            )
            for model in listed
        ),
    )


def promote(
    version: Annotated[str, typer.Argument(help="Version to make the champion.")],
    reason: Reason,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a model the champion, which answers every prediction."""
    with connected(url) as client:
        _show_move(client.promote(version, reason), as_json)


def rollback(reason: Reason, url: Url = None, as_json: AsJson = False) -> None:
    """Make the champion's predecessor champion again."""
    with connected(url) as client:
        _show_move(client.roll_back(reason), as_json)


def catalog(url: Url = None, as_json: AsJson = False) -> None:
    """List every architecture, strategy, class weight, preset and data set by name."""
    with connected(url) as client:
        known = client.catalog()
    if as_json:
        show_json(known)
        return
    rows = [(kind, item["name"], item.get("hypothesis", "")) for kind in known for item in _named(known[kind])]
    show_table(("kind", "name", "hypothesis"), rows)


def _judge(client: Client, image: Path) -> dict[str, Any]:
    try:
        return {"file": str(image), **client.predict(image.read_bytes(), image.name)}
    except Refused as refused:
        if refused.status >= 500:
            raise
        return {"file": str(image), "error": refused.detail, "remedy": refused.remedy}


def _row(answer: dict[str, Any]) -> tuple[str, ...]:
    if "error" in answer:
        return answer["file"], "refused", "", "", f"{answer['error']} {answer['remedy']}"
    warnings = "; ".join(warning["message"] for warning in answer["warnings"])
    probability, threshold = f"{answer['probability_malignant']:.4f}", f"{answer['threshold']:.4f}"
    return answer["file"], answer["label"], probability, threshold, warnings


def _rate(metrics: dict[str, Any], name: str) -> str:
    return "undefined" if metrics.get(name) is None else f"{metrics[name]:.3f}"


def _show_move(move: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(move)
        return
    before = move["previous"] or "none"
    console().print(f"{move['version']} is the champion now (before: {before}).")


def _named(kind: Any) -> list[dict[str, Any]]:
    """Catalog entries that have a name; presets are a mapping, policies plain strings."""
    if isinstance(kind, dict):
        return [{"name": name} for name in kind]
    if isinstance(kind, list):
        return [item if isinstance(item, dict) else {"name": item} for item in kind]
    return []
