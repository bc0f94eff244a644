"""The form for a new experiment follows the specification: its fields, defaults, descriptions and errors."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from starlette.testclient import TestClient

from models_store.contract.catalog import ARCHITECTURES, PRESETS
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.datasets.registration import register
from models_store.datasets.synthetic import generate
from models_store.presence import Presence, remove_heartbeat, send_heartbeat
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import DatasetRow, Experiment
from service.datasets.recording import record
from tests.service.dashboard.conftest import MakeExperiment
from tests.some_costs import some_costs

FORM: dict[str, Any] = {"dataset": "synthetic", "architectures": ["CNN_v1"], "class_weights": ["W3"]}


@pytest.fixture(autouse=True)
def known_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two milliseconds per image, and no measurement of EffNet_v3."""
    table = some_costs({name: 0.002 for name in ARCHITECTURES if name != "EffNet_v3"}, {"CNN_v1": 0.3})
    monkeypatch.setattr("service.experiments.estimate.costs", lambda: table)


def leaves(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and description of every field of the specification."""
    for name, field in schema["properties"].items():
        if "$ref" in field:
            nested = schema["$defs"][field["$ref"].rpartition("/")[2]]
            yield from ((f"{name}.{key}", inner["description"]) for key, inner in nested["properties"].items())
        else:
            yield name, field["description"]


def submitted(client: TestClient, database: Database, **fields: Any) -> dict[str, Any]:
    """The specification that results from the form."""
    answer = client.post("/experiments", data=FORM | fields, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    with database.read() as session:
        return session.get_one(Experiment, answer.headers["Location"].rpartition("/")[2]).spec


def test_every_field_of_the_contract_is_in_the_form_with_its_meaning(client: TestClient) -> None:
    page = unescape(client.get("/experiments/new").text)
    for name, description in leaves(ExperimentSpec.model_json_schema()):
        assert f'name="{name}"' in page
        assert re.sub(r"`([^`]+)`", r"<code>\1</code>", description) in page


def filled_in(page: str) -> dict[str, Any]:
    """What a browser submits from the form as it is."""
    checked = re.findall(r'type="checkbox" name="(\w+)" value="(\w+)" checked', page)
    ticked = re.findall(r'type="checkbox" id="([\w.]+)" name="[\w.]+" [^>]*checked', page)
    typed = re.findall(r'<input id="([\w.]+)" name="[\w.]+" type="text"[^>]* value="([^"]+)"', page)
    selects = re.findall(r'<select id="([\w.]+)".*?</select>', page, re.S)
    chosen = {
        name: re.findall(rf'<select id="{name}".*?<option value="([^"]*)" selected', page, re.S)[:1] for name in selects
    }
    form: dict[str, Any] = {name: unescape(value) for name, value in typed}
    form |= {name: values[0] for name, values in chosen.items() if values} | dict.fromkeys(ticked, "on")
    for name, value in checked:
        form.setdefault(name, []).append(value)
    return form


@pytest.mark.parametrize("preset", PRESETS)
def test_an_unchanged_preset_is_submitted_as_it_is(client: TestClient, database: Database, preset: str) -> None:
    form = filled_in(client.get(f"/experiments/new?preset={preset}").text)
    spec = submitted(client, database, **{**dict.fromkeys(FORM), **form, "dataset": "synthetic"})
    assert spec == ExperimentSpec.model_validate({"dataset": "synthetic", **PRESETS[preset]}).model_dump(mode="json")


def test_an_experiment_is_run_again_with_its_settings_and_the_changes(client: TestClient, database: Database) -> None:
    given = {
        "name": "a <first> try",
        "dataset": "synthetic",
        "architectures": ["CNN_v2", "EffLite_v1"],
        "strategies": [],
        "input_sizes": [56],
        "seed": 7,
        "calibration": {"policy": "fixed", "threshold": 0.25, "reuse": True},
        "final": {"views": 8, "ensemble": 2},
        "limits": {"experiment_minutes": 90},
    }
    first = client.post("/v1/experiments", json=given).json()
    assert f'href="/experiments/new?again={first["id"]}"' in client.get(f"/experiments/{first['id']}").text

    form = filled_in(client.get(f"/experiments/new?again={first['id']}").text)
    empty = dict.fromkeys(FORM)

    assert submitted(client, database, **empty | form) == first["spec"]
    assert submitted(client, database, **empty | form | {"seed": "8"}) == first["spec"] | {"seed": 8}


def test_a_data_set_that_is_no_longer_offered_has_to_be_chosen_again(
    client: TestClient, make_experiment: MakeExperiment
) -> None:
    page = client.get(f"/experiments/new?again={make_experiment(dataset='gone')}").text
    assert '<option value="">Choose…</option>' in page
    assert client.get("/experiments/new?again=exp_none").status_code == 404


def test_what_is_left_empty_takes_its_default(client: TestClient, database: Database) -> None:
    spec = submitted(client, database, epochs="", **{"calibration.source": "validation", "calibration.share": ""})
    assert spec["epochs"] == 30
    assert spec["calibration"]["share"] == 0.5
    assert spec["strategies"] == []


def test_nested_fields_become_nested_values(client: TestClient, database: Database) -> None:
    fields = {"calibration.target_recall": "0.95", "calibration.reuse": "on", "selection.policy": "val_f2"}
    spec = submitted(client, database, **fields)
    assert (spec["calibration"]["target_recall"], spec["calibration"]["reuse"]) == (0.95, True)
    assert spec["selection"]["policy"] == "val_f2"


@pytest.mark.parametrize(
    ("fields", "name", "message"),
    [
        ({"epochs": "many"}, "epochs", "Enter a whole number from 1 to 500."),
        ({"epochs": "0"}, "epochs", "Enter a whole number from 1 to 500."),
        ({"dataset": "nowhere"}, "dataset", "there is no data set"),
        ({"dataset": ""}, "dataset", "Choose one from the list."),
        ({"architectures": []}, "architectures", "Choose at least one."),
        ({"architectures": ["CNN_v9"]}, "architectures", "unknown 'CNN_v9'"),
        ({"calibration.confidence": "2"}, "calibration.confidence", "Enter a number from 0 to 1."),
        ({"calibration.policy": "fixed"}, "calibration.threshold", "needs a threshold"),
        ({"selection.policy": "best"}, "selection.policy", "Choose one from the list."),
        ({"name": "a\x00b"}, "name", "Enter at most 200 printable characters."),
    ],
)
def test_a_mistake_is_explained_beside_its_field_and_nothing_is_lost(
    client: TestClient, database: Database, fields: dict[str, Any], name: str, message: str
) -> None:
    answer = client.post("/experiments", data=FORM | {"patience": "7"} | fields)
    assert answer.status_code == 422
    wrong = re.search(rf'<p class="wrong" id="{re.escape(name)}-wrong">(.*?)</p>', answer.text, re.S)
    assert wrong is not None
    assert message in wrong[1].replace("&#39;", "'")
    assert f'href="#{name}"' in answer.text
    assert re.search(r'<input id="patience"[^>]* value="7"', answer.text)
    with database.read() as session:
        assert session.query(Experiment).count() == 0


def test_registered_data_sets_are_offered_by_name(client: TestClient, database: Database) -> None:
    with database.write() as session:
        described = {"image_size": 28, "counts": {}, "synthetic": False, "created_at": datetime.now(UTC)}
        session.add(DatasetRow(name="my_lesions", sha256="0" * 64, store_key="datasets/0.npz", **described))
    page = client.get("/experiments/new").text
    assert page.index('<option value="my_lesions"') < page.index('<option value="dermamnist"')


def test_data_sets_show_the_limits_of_their_figures_and_the_command_that_removes_them(
    client: TestClient, database: Database
) -> None:
    described = {"image_size": 28, "counts": {}, "synthetic": False, "created_at": datetime.now(UTC)}
    counted = {"lesions": 1991, "val_images": 344, "test_images": 695}
    none = {"lesions": 0, "val_images": 0, "test_images": 0}
    with database.write() as session:
        for name, shared in (("leaky", counted), ("grouped", none), ("uncounted", None)):
            session.add(DatasetRow(name=name, sha256="0" * 64, store_key="d.npz", shared_lesions=shared, **described))

    page = client.get("/experiments/new").text

    assert re.findall(r'dataset-notice" data-datasets="(.*?)"', page) == [
        "dermamnist dermamnist_64 dermamnist_128 dermamnist_224",
        "synthetic synthetic_64 synthetic_128 synthetic_224",
        "leaky",
    ]
    assert "About a third of the test images of DermaMNIST&#39;s official split" in page
    assert "The images are generated" in page
    assert "1,991 lesions have images in more than one split" in page
    assert "695 test images and 344 validation images" in page
    assert "<code>dermatriage dataset split leaky --seed 0 --url http://testserver</code>" in page


def test_button_makes_the_split_and_chooses_it_in_a_form_that_keeps_the_rest(
    client: TestClient, database: Database, storage: Storage, tmp_path: Path
) -> None:
    generate(tmp_path / "leaky.npz", counts=(140, 30, 50))
    record(database, register(tmp_path / "leaky.npz", "leaky", storage=storage))
    page = client.get("/experiments/new").text
    assert re.search(r'<button formaction="/experiments/split"[^>]* name="split" value="leaky">', page)

    made = client.post("/experiments/split", data=FORM | {"patience": "7", "split": "leaky", "key": "k1"})

    assert made.status_code == 200
    assert '<option value="leaky_new_lesions_0" selected>' in made.text
    assert "Choose <strong>leaky_new_lesions_0</strong>" in made.text
    assert re.search(r'<input id="patience"[^>]* value="7"', made.text)
    assert 'name="key" value="k1"' in made.text


def test_form_reports_too_few_malignant_lesions_before_and_after_submission(
    client: TestClient, database: Database
) -> None:
    chosen = FORM | {"calibration.target_recall": "0.99"}
    shown = client.post("/experiments/estimate", data=chosen, headers={"X-Fragment": "1"}).text
    answer = client.post("/experiments", data=chosen)
    assert answer.status_code == 422
    for text in (shown, answer.text):
        assert "np_sensitivity needs at least 299 malignant lesions in the calibration part" in text
        assert "Lower calibration.target_recall to 0.98" in text
    with database.read() as session:
        assert session.query(Experiment).count() == 0


def test_split_of_an_unknown_data_set_is_an_error_page(client: TestClient) -> None:
    answer = client.post("/experiments/split", data=FORM | {"split": "nowhere"})
    assert answer.status_code == 404
    assert "choose one from the list" in answer.text


def test_a_form_sent_twice_is_one_experiment(client: TestClient, database: Database) -> None:
    first, second = (submitted(client, database, key="k1"), submitted(client, database, key="k1"))
    assert first == second
    submitted(client, database, key="k1", epochs="3")
    with database.read() as session:
        assert session.query(Experiment).count() == 2


def test_an_estimate_from_the_table_names_its_source(client: TestClient) -> None:
    shown = client.post("/experiments/estimate", data=FORM, headers={"X-Fragment": "1"}).text
    assert "This estimate assumes" in shown
    assert "Based on measurements on" in shown
    assert "for 2 trials" in shown
    assert "There is no worker for the queue <code>cpu</code>" in shown


def test_estimate_shows_the_cost_of_a_prediction(client: TestClient) -> None:
    def shown(**changes: Any) -> str:
        return client.post("/experiments/estimate", data=FORM | changes, headers={"X-Fragment": "1"}).text

    final = {"final.views": "8", "final.ensemble": "3", "repeats": "3"}
    assert "An answer of the model runs one network once: <strong>0.3 ms</strong> on one thread of a test" in shown()
    assert "a network up to 24 times (views × networks): <strong>7.2 ms</strong>" in shown(**final)
    assert "have not been measured" in shown(architectures=["VGG_v1"], **final)


def test_without_measurements_there_is_a_reason_instead_of_an_estimate(client: TestClient) -> None:
    shown = client.post(
        "/experiments/estimate", data=FORM | {"architectures": ["EffNet_v3"]}, headers={"X-Fragment": "1"}
    )
    assert "No estimate yet" in shown.text
    assert "no measurements of EffNet_v3" in shown.text


def test_the_estimate_counts_the_slots_of_available_workers(client: TestClient, settings: Settings) -> None:
    told = {"host": "a", "gpus": (), "cores": 4, "python": "", "version": "", "commit": "", "started_at": ""}
    with Redis.from_url(settings.broker_url) as broker:
        for name, queues in (("one", ("cpu",)), ("two", ("cpu", "gpu"))):
            send_heartbeat(broker, Presence(name=name, queues=queues, slots=2, **told))
        said = {
            queue: client.post("/experiments/estimate", data=FORM | {"queue": queue}, headers={"X-Fragment": "1"}).text
            for queue in ("cpu", "gpu")
        }
        for name in ("one", "two"):
            remove_heartbeat(broker, name)
    assert "4 at a time" in said["cpu"]
    assert "2 at a time" in said["gpu"]


def test_without_a_script_the_estimate_comes_with_the_form_again(client: TestClient) -> None:
    page = client.post("/experiments/estimate", data=FORM | {"epochs": "4"}).text
    assert "This estimate assumes" in page
    assert re.search(r'<input id="epochs"[^>]* value="4"', page)


def test_the_form_links_to_the_data_format(client: TestClient) -> None:
    assert '<a href="/data-format">' in client.get("/experiments/new").text
    page = client.get("/data-format").text
    assert "<h1>Data format</h1>" in page
    assert "<code>split,index,image_id,lesion_id\n" in page
