"""Every request against the real application, by both clients."""

import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from dermatriage_client import DownloadAltered, Refused, requests, streams
from dermatriage_client.errors import refusal
from dermatriage_client.schemas import ExperimentRead
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.datasets.synthetic import generate
from tests.service.recorded import store_predictions
from tests.service.served import Scripted, ScriptedAnswer, served
from tests.verified_predictions import store_verified

Connect = Callable[..., Any]
MakeModel = Callable[..., str]
SPEC = ExperimentSpec(dataset="synthetic", architectures=("CNN_v1",))


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture
def client(connect: Connect, url: str) -> Any:
    return connect(url)


def png(brightness: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), brightness, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_spec_and_mapping_submit_the_same_experiment(client: Any) -> None:
    by_spec = client.submit(SPEC)
    by_mapping = client.submit({"dataset": "synthetic", "architectures": ["CNN_v1"]})

    assert isinstance(by_spec, ExperimentRead)
    assert by_spec.spec == by_mapping.spec
    assert by_spec.id != by_mapping.id


def test_same_key_submits_once(client: Any) -> None:
    assert client.submit(SPEC, key="once").id == client.submit(SPEC, key="once").id


def test_experiments_are_iterated_over_their_pages(client: Any) -> None:
    made = [client.submit(SPEC).id for _ in range(5)]
    client.cancel(made[0])

    assert [each.id for each in client.experiments(page_size=2)] == made[::-1]
    assert [each.id for each in client.experiments(status="cancelled")] == made[:1]


def test_experiment_is_read_with_its_trials_watched_cancelled_and_reported(client: Any) -> None:
    made = client.submit(SPEC)

    assert [trial.status for trial in client.trials(made.id)] == ["queued"]
    assert client.cancel(made.id).status == "cancelled"
    assert client.experiment(made.id).status == "cancelled"
    assert [event.kind for event in client.watch(made.id)][-1] == "experiment"
    assert client.report(made.id).startswith("<!doctype html>")


def test_experiments_are_compared(client: Any) -> None:
    ids = [client.submit(SPEC.model_copy(update={"seed": seed})).id for seed in (1, 2)]

    compared = client.compare_experiments(*ids)

    assert [each.id for each in compared.experiments] == ids
    assert [(each.field, each.values) for each in compared.settings] == [("seed", [1, 2])]
    assert [(group.experiments, group.figures) for group in compared.groups] == [(ids, {})]


def test_catalog_names_what_an_experiment_may_use(client: Any) -> None:
    assert "CNN_v3" in [each["name"] for each in client.catalog().architectures]


def test_data_sets_are_registered_listed_read_and_split(client: Any, tmp_path: Path) -> None:
    file, lesions = tmp_path / "clinic.npz", tmp_path / "clinic_lesions.csv"
    generate(file, counts=(140, 30, 50))

    registered = client.register_dataset("clinic", file, lesions=lesions)
    assert registered.shared_lesions.lesions > 0
    assert client.register_dataset("clinic", file, lesions=lesions) == registered == client.dataset("clinic")

    made = client.split_dataset("clinic", seed=2)

    assert (made.name, made.shared_lesions.lesions) == ("clinic_new_lesions_2", 0)
    assert client.split_dataset("clinic", seed=2) == made == client.dataset(made.name)
    assert made in client.datasets()


def test_refusal_carries_its_kind_and_findings(client: Any) -> None:
    with pytest.raises(Refused) as unknown:
        client.experiment("exp_none")
    with pytest.raises(Refused) as invalid:
        client.submit({"dataset": "synthetic", "epochs": 0})

    assert (unknown.value.status, unknown.value.kind) == (404, "experiment-not-found")
    assert [finding["pointer"] for finding in invalid.value.errors] == ["/epochs"]


@pytest.mark.parametrize("kind", ["/problems/model-not-found", "urn:dermatriage:problem:model-not-found"])
def test_kind_of_a_problem_is_read_from_servers_of_this_and_the_version_before(kind: str) -> None:
    problem = {"type": kind, "title": "There is no such model", "remedy": "List them."}
    response = httpx.Response(404, json=problem, headers={"Content-Type": "application/problem+json"})
    assert refusal(response).kind == "model-not-found"


@pytest.mark.parametrize("typed", ["../models", "a/b", "a?b=c", "a#b"])
def test_special_characters_in_an_id_lead_to_no_other_endpoint(client: Any, typed: str) -> None:
    with pytest.raises(Refused) as refused:
        client.experiment(typed)

    assert refused.value.status in (404, 422)


def test_promotion_is_refused_with_an_outdated_etag(client: Any, make_model: MakeModel) -> None:
    first, second = make_model(), make_model()
    before = client.model(first).etag

    assert client.promote(first, "good", if_match=before).version == first
    with pytest.raises(Refused) as refused:
        client.promote(second, "better", if_match=before)
    assert refused.value.kind == "revision-changed"
    assert client.promote(second, "better", if_match=client.model(second).etag).previous == first
    assert client.roll_back("worse").version == first
    assert [move.reason for move in client.history().items] == ["worse", "better", "good"]


def test_a_comparison_gives_the_reason_why_models_cannot_be_compared(client: Any, make_model: MakeModel) -> None:
    found = client.compare(make_model(), make_model())

    assert found.differences == []
    assert found.not_tested.startswith("The test scores of A")


def test_models_are_iterated_over_their_pages(client: Any, make_model: MakeModel) -> None:
    made = [make_model() for _ in range(3)]

    assert [each.version for each in client.models(page_size=2)] == made[::-1]


def test_card_is_markdown(client: Any, make_model: MakeModel) -> None:
    assert client.card(make_model(threshold=0.25)) == "# card.md of threshold 0.25"


def test_bundle_is_written_once_its_checksums_are_right(client: Any, make_model: MakeModel, tmp_path: Path) -> None:
    version = make_model()

    written = client.bundle(version, tmp_path / "model.zip")

    assert written == tmp_path / "model.zip"
    assert f"{version}/model.onnx" in zipfile.ZipFile(written).namelist()
    assert not (tmp_path / "model.zip.part").exists()


@pytest.mark.parametrize("change", ["file", "manifest", "cut"])
def test_altered_bundle_is_not_kept(
    connect: Connect, client: Any, make_model: MakeModel, tmp_path: Path, change: str
) -> None:
    version = make_model()
    good = client.bundle(version, tmp_path / "good.zip")
    altered = io.BytesIO()
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(altered, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            hit = name.endswith("card.md" if change == "file" else "manifest.json") and change != "cut"
            target.writestr(name, content + b" " if hit else content)
        manifest_sha256 = client.model(version).manifest_sha256
    body = altered.getvalue()[:-40] if change == "cut" else altered.getvalue()

    with (
        served(Scripted([ScriptedAnswer(body=body, headers={"ETag": f'"{manifest_sha256}"'})])) as other,
        pytest.raises(DownloadAltered),
    ):
        connect(other).bundle(version, tmp_path / "altered.zip")

    assert [file.name for file in tmp_path.glob("altered*")] == []


def test_bundle_without_its_etag_is_not_trusted(client: Any, make_model: MakeModel, tmp_path: Path) -> None:
    good = client.bundle(make_model(), tmp_path / "good.zip")

    with pytest.raises(DownloadAltered):
        streams.verify(good, "")


def test_image_is_judged_by_path_and_by_bytes_and_explained(client: Any, make_model: MakeModel, tmp_path: Path) -> None:
    version = make_model(promote=True)
    (tmp_path / "bright.png").write_bytes(png(250))

    by_path = client.predict(tmp_path / "bright.png")
    by_bytes = client.predict(("bright.png", png(250)), explain=True)

    assert (by_path.label, by_path.model_version) == ("malignant", version)
    assert by_path.explanation is None
    assert by_bytes.probability_malignant == by_path.probability_malignant
    assert by_bytes.explanation.method == "occlusion"
    assert client.prediction(by_path.prediction_id).label == "malignant"


def test_recorded_predictions_are_iterated_over_their_pages(
    client: Any, database: Database, make_model: MakeModel
) -> None:
    version = make_model()
    began = datetime(2026, 1, 5, 12, tzinfo=UTC)
    store_predictions(database, [version], began)

    assert [each.id for each in client.predictions(page_size=2)] == [f"prd_{number}" for number in range(5, -1, -1)]
    since, until = began + timedelta(minutes=2), began + timedelta(minutes=5)
    found = client.predictions(since=since, until=until.astimezone().replace(tzinfo=None), label="benign")
    assert [each.id for each in found] == ["prd_3", "prd_2"]
    assert list(client.predictions(model="mdl_none")) == []


def test_batch_goes_in_groups_and_counts_over_all_of_them(
    client: Any, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(promote=True)
    monkeypatch.setattr(requests, "MAX_FILES", 2)
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for name in ("c.png", "d.png"):
            archive.writestr(name, png(10))
    (tmp_path / "b.png").write_text("no image")

    lines = list(client.predict_batch([("a.png", png(250)), tmp_path / "b.png", str(tmp_path / "some.zip")]))

    assert [(line.index, line.file) for line in lines] == [(0, "a.png"), (1, "b.png"), (2, "c.png"), (3, "d.png")]
    assert [line.prediction.label if line.prediction else None for line in lines] == [
        "malignant",
        None,
        "benign",
        "benign",
    ]
    assert lines[1].problem["status"] == 415


def test_empty_batch_sends_no_request(connect: Connect) -> None:
    script = Scripted([ScriptedAnswer(500)])
    with served(script) as url:
        assert list(connect(url).predict_batch([])) == []

    assert script.requests == []


def test_readiness_names_what_is_missing(client: Any, make_model: MakeModel) -> None:
    before = client.ready()
    make_model(promote=True)

    assert client.healthy() is True
    assert (before.status, before.checks["model"].ok) == ("not-ready", False)
    assert client.ready().status == "ready"


def test_outcome_is_recorded_corrected_and_read_with_its_history(
    client: Any, database: Database, make_model: MakeModel
) -> None:
    (prediction_id,) = store_verified(database, make_model(), [("benign", None, 1)])
    verified_at = datetime(2026, 1, 19, tzinfo=UTC)
    assert client.outcomes(prediction_id) == []
    first = client.record_outcome(prediction_id, "benign", verified_by="follow-up", verified_at=verified_at)
    assert client.record_outcome(prediction_id, "benign", verified_by="follow-up", verified_at=verified_at) == first
    with pytest.raises(Refused) as refused:
        client.record_outcome(prediction_id, "malignant", verified_by="histopathology", verified_at=verified_at)
    assert (refused.value.status, refused.value.kind) == (409, "outcome-differs")
    again = client.record_outcome(
        prediction_id, "malignant", verified_by="histopathology", verified_at=verified_at, replaces=first.number
    )
    assert [each.outcome for each in client.outcomes(prediction_id)] == ["malignant", "benign"]
    assert (again.number, again.current) == (2, True)
