"""Checks a history: a pure function from the facts of a run to the broken invariants.

Facts by kind, beside `at`:

planned     the number of experiments that the run submits: experiments
accepted    an experiment that was accepted: experiment, key (the idempotency key; an answer may come twice)
cancelling  a cancellation that was accepted: experiment
answered    a prediction that was answered: prediction, model, requested_at
fault       what was done to the stack: name, began, ended, stops (web or database, where it stops one of them)
opening     a trial opened the test set: experiment, trial, bundle, threshold
ended       an experiment as it is on record: experiment, status, events (each number and status of an end), phases
model       a model on record: experiment, version, bundle, threshold
move        a move of the champion: id, version, previous, action, moved (its moment)
recorded    predictions on record: predictions
left        something left behind: what
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.nemesis.history import Fact

ENDS = ("succeeded", "failed", "cancelled")
# A web process checks for a new champion every 0.5 s and loads it; the README promises two seconds.
STALE_SECONDS = 2.0
# service/predictions/engine/recorder.py: 0.5 s and one write; after an outage, as long as the outage.
UNWRITTEN_SECONDS = 2.5


def violations(facts: Sequence[Fact]) -> list[str]:
    """One sentence for each thing that is broken; none where everything holds."""
    by_kind: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_kind[fact["kind"]].append(fact)
    return [*_ends(by_kind), *_models(by_kind), *_openings(by_kind), *_champions(by_kind), *_predictions(by_kind)] + [
        f"left behind: {fact['what']}" for fact in by_kind["left"]
    ]


def _ends(facts: dict[str, list[Fact]]) -> Iterator[str]:
    ended = {fact["experiment"]: fact for fact in facts["ended"]}
    by_key: dict[str, set[str]] = defaultdict(set)
    for fact in facts["accepted"]:
        by_key[fact["key"]].add(fact["experiment"])
    for key, experiments in by_key.items():
        if len(experiments) > 1:
            yield f"the key {key} submitted {len(experiments)} experiments"
    accepted = set().union(*by_key.values())
    for planned in facts["planned"]:
        if len(by_key) < planned["experiments"]:
            yield f"only {len(by_key)} of {planned['experiments']} experiments were submitted: refused, or not in time"
    for lost in sorted(accepted - ended.keys()):
        yield f"{lost} was accepted and is lost"
    for strange in sorted(ended.keys() - accepted):
        yield f"{strange} is on record, and no response accepted it"
    for experiment, fact in ended.items():
        if fact["status"] not in ENDS:
            yield f"{experiment} never ended: {fact['status']}"
            continue
        numbers = [event["number"] for event in fact["events"]]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"the events of {experiment} have gaps"
        ends = [event["status"] for event in fact["events"] if event["status"] in ENDS]
        if ends != [fact["status"]]:
            yield f"{experiment} is {fact['status']} and its events have the ends {ends}"
        if fact["phases"] != sorted(set(fact["phases"])):
            yield f"a phase of {experiment} was opened twice: {fact['phases']}"


def _models(facts: dict[str, list[Fact]]) -> Iterator[str]:
    made = Counter(fact["experiment"] for fact in facts["model"])
    for fact in facts["ended"]:
        most = 1 if fact["status"] == "succeeded" else 0
        if made[fact["experiment"]] != most:
            yield f"{fact['experiment']} is {fact['status']} and has {made[fact['experiment']]} models"


def _openings(facts: dict[str, list[Fact]]) -> Iterator[str]:
    opened: dict[str, set[tuple[Any, Any]]] = defaultdict(set)
    for fact in facts["opening"]:
        opened[fact["experiment"]].add((fact["bundle"], fact["threshold"]))
    for experiment, ways in opened.items():
        if len(ways) > 1:
            yield f"the test set was opened for {len(ways)} bundles or thresholds of {experiment}"
    for fact in facts["model"]:
        if (fact["bundle"], fact["threshold"]) not in opened[fact["experiment"]]:
            yield f"the model of {fact['experiment']} is not the one that the test set was opened for"


def _champions(facts: dict[str, list[Fact]]) -> Iterator[str]:
    moves = sorted(facts["move"], key=lambda move: move["id"])
    champions = [None, *(move["version"] for move in moves)]
    for before, move in zip(champions, moves, strict=False):
        if move["previous"] != before:
            yield f"move {move['id']} of the champion follows {move['previous']}, and the champion was {before}"
    away = _stopped(facts, "web", "database")
    for fact in facts["answered"]:
        since = {move["version"]: move["moved"] for move in moves if move["moved"] <= fact["at"]}
        if fact["model"] not in since:
            yield f"{fact['prediction']} was answered by {fact['model']}, which had never been champion"
            continue
        after = [move["moved"] for move in moves if move["moved"] > since[fact["model"]]]
        requested_at = fact["requested_at"]
        if after and requested_at - after[0] - 2 * _overlap(away, after[0], requested_at) > STALE_SECONDS:
            late = requested_at - after[0]
            yield f"{fact['prediction']} was answered by {fact['model']} {late:.1f} s after another was champion"


def _predictions(facts: dict[str, list[Fact]]) -> Iterator[str]:
    recorded = {prediction for fact in facts["recorded"] for prediction in fact["predictions"]}
    kills = [began for began, _ in _stopped(facts, "web")]
    away = _stopped(facts, "database")
    for fact in facts["answered"]:
        at = fact["at"]
        excused = any(
            at - 1 <= kill and kill - at - 2 * _overlap(away, at - UNWRITTEN_SECONDS, kill) <= UNWRITTEN_SECONDS
            for kill in kills
        )
        if fact["prediction"] not in recorded and not excused:
            yield f"{fact['prediction']} was answered and is not on record, and no web process was killed soon after"


def _stopped(facts: dict[str, list[Fact]], *parts: str) -> list[tuple[float, float]]:
    return [(fault["began"], fault["ended"]) for fault in facts["fault"] if set(fault["stops"]) & set(parts)]


def _overlap(stretches: Sequence[tuple[float, float]], since: float, until: float) -> float:
    return sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in stretches)
