"""Classify images: any number of files, folders, patterns and zips."""

import csv
import glob
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from dermatriage_client import Client
from dermatriage_client.schemas import BatchLine, Label, PredictionRead
from models_store.contract.catalog import DISCLAIMER
from service.cli.completing import versions
from service.cli.output import AsJson, BadInput, Finished, Limit, Url, connected, moment, notes, show_json, show_table

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".dcm")
COLUMNS = ("file", "label", "probability_malignant", "threshold", "model_version", "warnings", "error")
RECORDED = ("id", "label", "probability", "threshold", "model", "warnings", "answered")
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")
Answer = dict[str, Any]
Images = Annotated[
    list[str], typer.Argument(metavar="IMAGE…", help="Image files, folders of them, patterns in quotes, or zips.")
]
Since = Annotated[datetime | None, typer.Option(help="Only predictions made then or later, in local time.")]
Until = Annotated[datetime | None, typer.Option(help="Only predictions made before then.")]
OfModel = Annotated[str | None, typer.Option(help="Only predictions of this version.", autocompletion=versions)]
OfLabel = Annotated[Label | None, typer.Option(help="Only predictions with this label.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print one line of CSV per image.")]


def predict(images: Images, url: Url = None, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Classify images with the champion; exit code 2 if any cannot be classified."""
    if as_json and as_csv:
        raise BadInput("give --json or --csv, not both")
    files = [file for image in images for file in _files(image)]
    with connected(url) as client:
        out = notes()
        shown = track(_answers(client, files), "Classifying", len(files), console=out, disable=not out.is_terminal)
        answers = list(shown)
    if as_json:
        show_json(answers)
    elif as_csv:
        _show_csv(answers)
    else:
        _show(answers)
    if any("error" in answer for answer in answers):
        raise Finished(2)


def predictions(
    since: Since = None,
    until: Until = None,
    model: OfModel = None,
    label: OfLabel = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List recorded predictions, newest first."""
    with connected(url) as client:
        found = client.predictions(since=since, until=until, model=model, label=label, page_size=min(limit, 200))
        newest = list(islice(found, limit))
    if as_json:
        show_json(newest)
    elif newest:
        show_table(RECORDED, map(_recorded, newest))
    else:
        notes().print("There are no predictions.")


def _recorded(prediction: PredictionRead) -> tuple[str, ...]:
    probability, threshold = f"{prediction.probability:.4f}", f"{prediction.threshold:.4f}"
    shown = (prediction.label, probability, threshold, prediction.model_version, " ".join(prediction.warnings))
    return (prediction.id, *shown, moment(prediction.created_at))


def _files(named: str) -> list[Path]:
    """The files of an argument: a file, the images below a folder, or the matches of a pattern. Raises `BadInput`."""
    path = Path(named)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    else:
        found = [path] if path.exists() else sorted(map(Path, glob.glob(named, recursive=True)))  # noqa: PTH207
    if not found:
        raise BadInput(f"there is no image at {named}; name files, folders with {', '.join(SUFFIXES)}, or zips")
    return found


def _answers(client: Client, files: Iterable[Path]) -> Iterator[Answer]:
    """One answer per image, in order; an image in a zip is named by the zip and its path in it."""
    for is_zip, group in groupby(files, lambda file: file.suffix.lower() == ".zip"):
        if is_zip:
            for archive in group:
                for line in client.predict_batch([archive]):
                    yield _answer(f"{archive}/{line.file}", line)
        else:
            sent = list(group)
            for line in client.predict_batch(sent):
                yield _answer(str(sent[line.index]), line)


def _answer(file: str, line: BatchLine) -> Answer:
    if line.prediction is None:
        problem = line.problem or {}
        return {"file": file, "error": problem.get("detail", ""), "remedy": problem.get("remedy", "")}
    return {"file": file, **line.prediction.model_dump(mode="json", exclude={"explanation"})}


def _show(answers: list[Answer]) -> None:
    """Prints a table with the codes of the warnings, and on standard error the meaning of each code once."""
    show_table(("image", "label", "probability", "threshold", "warnings"), map(_row, answers))
    _show_diagnoses([answer for answer in answers if answer.get("diagnoses")])
    meanings = {each["code"]: each["message"] for answer in answers for each in answer.get("warnings", ())}
    for code, message in meanings.items():
        notes().print(f"{code}: {message}", markup=False)
    notes().print(DISCLAIMER)


def _show_diagnoses(answers: list[Answer]) -> None:
    if not answers:
        return
    short_names = tuple(_by_diagnosis(answers[0]))
    typer.echo("\nprobability by diagnosis")
    rows = [(answer["file"], *(f"{p:.4f}" for p in _by_diagnosis(answer).values())) for answer in answers]
    show_table(("image", *short_names), rows)
    for each in answers[0]["diagnoses"]:
        notes().print(f"{each['diagnosis']}: {each['name']}{' (malignant)' if each['malignant'] else ''}", markup=False)
    notes().print("The malignant diagnoses sum to the probability that is compared with the threshold.")


def _by_diagnosis(answer: Answer) -> dict[str, float]:
    """Probabilities by short name; empty where the model predicts no diagnoses."""
    return {each["diagnosis"]: each["probability"] for each in answer.get("diagnoses") or ()}


def _row(answer: Answer) -> tuple[str, ...]:
    if "error" in answer:
        return answer["file"], "refused", "", "", f"{answer['error']} {answer['remedy']}"
    probability, threshold = f"{answer['probability_malignant']:.4f}", f"{answer['threshold']:.4f}"
    return answer["file"], answer["label"], probability, threshold, _codes(answer)


def _show_csv(answers: list[Answer]) -> None:
    """If the model predicts diagnoses, each has a column after the others."""
    columns = dict.fromkeys((*COLUMNS, *chain.from_iterable(map(_by_diagnosis, answers))))
    table = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", restval="", lineterminator="\n")
    table.writeheader()
    for answer in answers:
        row = {**answer, **_by_diagnosis(answer), "warnings": _codes(answer)}
        table.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    """Puts an apostrophe, which spreadsheets hide, before text that is a formula to them (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_PREFIXES) else value


def _codes(answer: Answer) -> str:
    return " ".join(warning["code"] for warning in answer.get("warnings", ()))
