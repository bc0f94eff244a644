"""The list of experiments: its rows, its search and its pages."""

import re

import pytest
from sqlalchemy import delete, select, update
from starlette.testclient import TestClient

from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.experiment.phases import best_trained
from models_store.tables import Experiment, Model, Trial
from service.dashboard.experiment_list import PAGE_SIZE
from tests.service.dashboard.conftest import MakeExperiment


def shown(client: TestClient, address: str = "/") -> list[str]:
    """The ids of the experiments on the page, in order."""
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return re.findall(r'id="row-(exp_\w+)"', answer.text)


def test_an_empty_list_explains_how_to_start(client: TestClient) -> None:
    page = client.get("/").text
    assert 'href="/experiments/new?preset=demo"' in page
    assert "dermatriage submit --preset demo" in page


@pytest.mark.both_databases
def test_a_finished_experiment_shows_its_recall_on_test_first(
    client: TestClient, finished: str, database: Database
) -> None:
    with database.read() as session:
        test = session.get_one(Model, f"mdl_{finished}").metrics
    page = client.get("/").text
    assert page.index(f"<strong>{test['recall']:.3f}</strong>") < page.index(f"{test['specificity']:.3f}")


def unfinished(database: Database, experiment_id: str, policy: str) -> Experiment:
    with database.write() as session:
        experiment = session.get_one(Experiment, experiment_id)
        experiment.status, experiment.result, experiment.phase = "running", None, 2
        experiment.spec = {**experiment.spec, "selection": {"policy": policy, "min_specificity": 0.5}}
        session.execute(delete(Model))
    return experiment


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("policy", "figure"), [("specificity_at_recall", "specificity at recall 0.90 0"), ("val_recall", "recall 0")]
)
def test_an_unfinished_experiment_shows_its_first_trial_by_the_figure_that_ranks(
    client: TestClient, finished: str, database: Database, policy: str, figure: str
) -> None:
    spec = ExperimentSpec.model_validate(unfinished(database, finished, policy).spec)
    with database.read() as session:
        first = best_trained(spec, session.scalars(select(Trial)).all())
    assert first is not None
    page = client.get("/").text
    assert f'<td data-label="First">{first.name}<small>{figure}' in page
    assert '<td data-label="Test recall" class="number"><span class="soft">–' in page
    assert "fine-tuning, 100 %" in page


def test_collapsed_trials_are_never_first(client: TestClient, finished: str, database: Database) -> None:
    unfinished(database, finished, "val_recall")
    with database.write() as session:
        session.execute(update(Trial).values(status="collapsed"))
    assert '<td data-label="First"><span class="soft">–' in client.get("/").text


@pytest.mark.both_databases
def test_experiments_are_found_by_state_and_by_every_word_of_a_text(
    client: TestClient, make_experiment: MakeExperiment
) -> None:
    lesions = make_experiment("failed", name="First look", dataset="lesions")
    other = make_experiment("queued", phase=0, name="second look", dataset="other_28")
    assert set(shown(client)) == {lesions, other}
    assert shown(client, "/?status=failed") == [lesions]
    assert set(shown(client, "/?text=LOOK")) == {lesions, other}
    assert shown(client, "/?text=look+other") == [other]
    assert shown(client, f"/?text={lesions[:12]}") == [lesions]
    assert shown(client, "/?text=look&status=queued") == [other]
    assert shown(client, "/?text=100%25") == []
    assert "Nothing found" in client.get("/?text=none+like+this").text


def test_a_name_is_text_and_never_markup(client: TestClient, make_experiment: MakeExperiment) -> None:
    experiment_id = make_experiment(name="<script>alert(1)</script>")
    for address in ("/", f"/experiments/{experiment_id}", "/?text=<script>"):
        assert "<script>alert" not in client.get(address).text


@pytest.mark.both_databases
def test_pages_contain_every_experiment_once(client: TestClient, make_experiment: MakeExperiment) -> None:
    made = {make_experiment(name=f"experiment {number}") for number in range(PAGE_SIZE + 5)}
    first = client.get("/?text=experiment").text
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following is not None
    seen = shown(client, "/?text=experiment") + shown(client, following[1].replace("&amp;", "&"))
    assert len(seen) == len(set(seen)) == len(made)
    assert 'rel="next"' not in client.get(following[1].replace("&amp;", "&")).text


def test_an_open_page_fetches_the_rows_alone(client: TestClient, make_experiment: MakeExperiment) -> None:
    experiment_id = make_experiment("running")
    rows = client.get("/?fragment=true").text
    assert rows.strip().startswith(f'<tr id="row-{experiment_id}"')
    assert "<html" not in rows


def test_a_broken_cursor_is_a_page_with_a_remedy(client: TestClient) -> None:
    answer = client.get("/?cursor=nonsense")
    assert answer.status_code == 422
    assert "Start again without a cursor." in answer.text
