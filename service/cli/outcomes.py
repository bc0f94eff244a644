"""Record what lesions turned out to be: one by one, or from a CSV file."""

import csv
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from dermatriage_client import Client, Refused
from dermatriage_client.schemas import Label, OutcomeRead, Verification
from service.cli.output import AsJson, BadInput, Finished, Url, connected, console, notes, show_json, show_table

REQUIRED = ("prediction_id", "outcome", "verified_by", "verified_at")
Row = tuple[str, Verification]
Correct = Annotated[bool, typer.Option("--correct", help="Replace another outcome; the history keeps it.")]


def outcome(
    prediction: Annotated[str, typer.Argument(metavar="ID", help="Id of the prediction.")],
    outcome: Annotated[Label, typer.Argument(help="What the lesion turned out to be.")],
    by: Annotated[str, typer.Option(help="Who or what verified it; never the patient.")],
    verified_at: Annotated[datetime | None, typer.Option("--at", help="When it was verified; default: today.")] = None,
    note: Annotated[str | None, typer.Option(help="Free text without anything that identifies a person.")] = None,
    correct: Correct = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Record what the lesion of a prediction turned out to be."""
    at = verified_at or datetime.combine(datetime.now().astimezone(), time())
    row = _row({"prediction_id": prediction, "outcome": outcome, "verified_by": by, "verified_at": at, "note": note})
    with connected(url) as client:
        recorded = _record(client, row, correct)
    if as_json:
        show_json(recorded)
    else:
        console().print(f"{prediction} is {recorded.outcome} (outcome {recorded.number}).", soft_wrap=True)


def outcomes(
    file: Annotated[Path, typer.Argument(help=f"CSV file with the columns {', '.join(REQUIRED)}; note is optional.")],
    correct: Correct = False,
    url: Url = None,
) -> None:
    """Record the outcomes of a CSV file; exit code 2 if any is refused. The file may be imported again."""
    rows = list(_rows(file))
    refused: list[tuple[str, str]] = []
    with connected(url) as client:
        for row in rows:
            try:
                _record(client, row, correct)
            except Refused as refusal:
                if refusal.status not in (404, 409, 422):
                    raise
                refused.append((row[0], str(refusal)))
    console().print(f"{len(rows) - len(refused)} of {len(rows)} outcomes are recorded.")
    if refused:
        show_table(("prediction", "refused"), refused)
        notes().print("--correct replaces outcomes that differ.")
        raise Finished(2)


def _record(client: Client, row: Row, correct: bool) -> OutcomeRead:
    prediction_id, verified = row
    earlier = client.outcomes(prediction_id) if correct else []
    sent = verified.model_dump(exclude={"outcome", "replaces"})
    replaces = earlier[0].number if earlier else None
    return client.record_outcome(prediction_id, verified.outcome, replaces=replaces, **sent)


def _rows(file: Path) -> Iterator[Row]:
    """Every row, checked before the first is sent. Raises `BadInput`."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error
    table = csv.DictReader(text.splitlines())
    missing = [name for name in REQUIRED if name not in (table.fieldnames or ())]
    if missing:
        raise BadInput(f"{file} lacks the columns {', '.join(missing)}; its first line has to name its columns")
    for values in table:
        try:
            yield _row(values)
        except BadInput as bad:
            raise BadInput(f"{file}, line {table.line_num}: {bad}; nothing was sent") from bad


def _row(values: dict[str, Any]) -> Row:
    """A time without a zone is local time, and a date is its midnight. Raises `BadInput`."""
    try:
        at = values["verified_at"]
        at = (at if isinstance(at, datetime) else datetime.fromisoformat(at or "")).astimezone()
        sent = {name: values[name] for name in ("outcome", "verified_by")}
        return values["prediction_id"], Verification(**sent, verified_at=at, note=values.get("note") or None)
    except ValidationError as invalid:
        found = (f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in invalid.errors())
        raise BadInput("; ".join(found)) from invalid
    except (ValueError, OverflowError) as error:
        raise BadInput(f"verified_at: {error}; write it as 2026-01-19 or 2026-01-19T08:30:00+01:00") from error
