"""The model pages: the champion, the promotion history with its reasons, and a card that is only text."""

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.settings import Settings
from models_store.store import registry
from models_store.store.storage import Storage
from models_store.tables import Model
from service.access import keys
from service.app import create_app
from service.dashboard.models import card_html
from tests.finished_experiment import FinalRecord, a_final_record
from tests.service.dashboard.test_result_page import words
from tests.service.dashboard.test_sign_in import sign_in

PROMOTE = {"reason": "finds <more> cancers", "revision": "0", "form_token": ""}


def weaker(final: FinalRecord) -> FinalRecord:
    """Another model on the same test images, whose probabilities hardly depend on the image."""
    scores = np.random.default_rng(1).random(len(final.tested.scores))
    return replace(final, tested=replace(final.tested, scores=scores))


def champion(database: Database) -> str | None:
    with database.read() as session:
        found = registry.champion(session)
        return None if found is None else found.version


def test_without_a_model_the_page_explains_what_to_do(client: TestClient) -> None:
    shown = words(client.get("/models").text)
    assert "There is no champion yet." in shown
    assert "There is no model yet." in shown


def test_a_promotion_needs_a_reason_and_appears_in_the_history(
    client: TestClient, make_result: Any, database: Database
) -> None:
    version = f"mdl_{make_result()}"
    answer = client.post(f"/models/{version}/promote", data=PROMOTE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/models#history")
    assert champion(database) == version
    page = client.get("/models").text
    assert "finds <more> cancers" in words(page)
    assert "<more>" not in page
    assert 'class="badge good">champion' in page


@pytest.mark.parametrize(
    ("change", "status"), [({"reason": "  "}, 422), ({"revision": "9"}, 412), ({"revision": "x"}, 422)]
)
def test_a_promotion_without_reason_or_on_an_old_page_changes_nothing(
    client: TestClient, make_result: Any, database: Database, change: dict[str, str], status: int
) -> None:
    version = f"mdl_{make_result()}"
    answer = client.post(f"/models/{version}/promote", data=PROMOTE | change)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert champion(database) is None


def test_roll_back_makes_the_one_before_champion_again(
    client: TestClient, make_result: Any, database: Database
) -> None:
    first, second = f"mdl_{make_result('one')}", f"mdl_{make_result('two')}"
    for revision, version in enumerate((first, second)):
        client.post(f"/models/{version}/promote", data=PROMOTE | {"revision": str(revision)})
    assert f"Makes {first} the champion again" in words(client.get("/models").text)
    client.post("/models/rollback", data=PROMOTE | {"revision": "2", "reason": "too many alarms"})
    assert champion(database) == first
    shown = words(client.get("/models").text)
    assert "rolled back" in shown
    assert "Roll back to the previous champion" not in shown


def test_a_champion_that_cannot_be_loaded_is_reported(client: TestClient, make_result: Any, storage: Storage) -> None:
    version = f"mdl_{make_result()}"
    storage.delete(f"models/{version}/model.onnx")
    client.post(f"/models/{version}/promote", data=PROMOTE)
    client.get("/readyz")
    assert f"The champion {version} is not available." in words(client.get("/models").text)
    assert f"The champion {version} is not available." in words(client.get("/try").text)


def test_a_model_page_shows_its_figures_and_its_card_as_text(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    page = client.get(f"/models/mdl_{make_result()}").text
    shown = words(page)
    assert final.calibration["guarantee"]["sentence"] in shown
    assert "Out of scope, and when to stop using it" in shown
    assert "license:" not in shown
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_a_missing_card_is_reported(client: TestClient, make_result: Any, storage: Storage) -> None:
    experiment_id = make_result()
    storage.delete(f"models/mdl_{experiment_id}/card.md")
    assert "The card is not available." in words(client.get(f"/models/mdl_{experiment_id}").text)


def test_a_comparison_on_the_same_images_tests_each_difference(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    first, second = f"mdl_{make_result('one')}", f"mdl_{make_result('two', weaker(final))}"
    page = client.get(f"/models/compare?a={first}&b={second}").text
    shown = words(page)
    assert "Both were tested on the same images" in shown
    assert "fewer of the" in shown
    assert "McNemar, exact: p" in shown
    assert "DeLong: p < 0.001): more than chance explains." in shown
    assert "Choosing between them by these figures is selection on the test set." in shown
    assert page.count('class="plot"') == 2


def test_a_comparison_gives_the_reason_if_nothing_is_tested(
    client: TestClient, make_result: Any, storage: Storage, database: Database
) -> None:
    first, second = f"mdl_{make_result('one')}", f"mdl_{make_result('two')}"
    address = f"/models/compare?a={first}&b={second}"
    assert "no difference can be shown" in words(client.get(address).text)
    assert "Both sides are the same model" in words(client.get(f"/models/compare?a={first}&b={first}").text)
    other = f"mdl_{make_result('other images', a_final_record(images=300, separation=0.6))}"
    assert "list different images" in words(client.get(f"/models/compare?a={first}&b={other}").text)
    storage.delete(f"models/{first}/test_scores.csv")
    assert f"The test scores of A ({first}) cannot be read" in words(client.get(address).text)
    with database.write() as session:
        session.get_one(Model, second).dataset_sha256 = "cd" * 32
    page = client.get(address).text
    assert "tested on different test sets" in words(page)
    assert page.count('class="plot"') == 0


def test_a_comparison_states_for_each_model_whether_its_figures_hold_for_new_lesions(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    grouped = replace(final, evaluation=final.evaluation | {"leaking_images": 0})
    first, second = f"mdl_{make_result('leaking')}", f"mdl_{make_result('grouped', grouped)}"
    left, right = client.get(f"/models/compare?a={first}&b={second}").text.split('class="card side-b"')
    assert "<code>dermatriage dataset split fabricated_28 --seed 0 --url http://testserver</code>" in left
    assert "Every test lesion is new to the network." in right


def test_models_with_incomplete_records_are_listed(client: TestClient, make_model: Any) -> None:
    versions = [make_model() for _ in range(2)]
    assert "0.900" in words(client.get("/models").text)
    assert "not recorded in full" in words(client.get(f"/models/{versions[0]}").text)
    assert "not recorded in full" in words(client.get(f"/models/compare?a={versions[0]}&b={versions[1]}").text)


def test_a_viewer_who_may_not_promote_gets_no_form(
    settings: Settings, database: Database, storage: Storage, make_result: Any
) -> None:
    version = f"mdl_{make_result()}"
    chosen = settings.model_copy(update={"auth": "keys"})
    with database.write() as session:
        headers = {"Authorization": f"Bearer {keys.create(session, 'reader', ['read'])[1]}"}
    with TestClient(create_app(chosen, database=database, storage=storage), headers=headers) as client:
        assert "You need a key with the scope admin" in words(client.get(f"/models/{version}").text)
        assert client.post(f"/models/{version}/promote", data=PROMOTE).status_code == 403
    assert champion(database) is None


def test_a_promotion_by_session_needs_its_token_and_records_the_name_of_the_key(
    settings: Settings, database: Database, storage: Storage, make_result: Any
) -> None:
    version = f"mdl_{make_result()}"
    with database.write() as session:
        text = keys.create(session, "Ada", ["admin"])[1]
    app = create_app(settings.model_copy(update={"auth": "keys"}), database=database, storage=storage)
    with TestClient(app, follow_redirects=False, headers={"Accept": "text/html"}) as client:
        token = sign_in(client, text)
        assert client.post(f"/models/{version}/promote", data=PROMOTE).status_code == 403
        assert champion(database) is None
        assert f'name="form_token" value="{token}"' in client.get(f"/models/{version}").text
        assert client.post(f"/models/{version}/promote", data=PROMOTE | {"form_token": token}).status_code == 303
    with database.read() as session:
        assert [step.actor for step in registry.history(session)] == ["Ada"]


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "![x](https://elsewhere.example/a.png)",
        '<img src=x onerror="alert(1)">',
        "<https://elsewhere.example>",
        "[x]: https://elsewhere.example\n\n[x]",
    ],
)
def test_a_card_contains_only_text(hostile: str) -> None:
    rendered = card_html(f"---\nlicense: none\n---\n# Title\n\n{hostile}\n")
    assert not re.search(r"<(script|img|a|iframe)\b", rendered)
    assert rendered.startswith("<h3>Title</h3>")
    assert "license" not in rendered
