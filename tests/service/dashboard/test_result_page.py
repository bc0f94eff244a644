"""The result page: the record, a slider that starts at the chosen threshold, and reasons for what is missing."""

import html
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from models_store.contract.catalog import DISCLAIMER
from models_store.database import Database
from models_store.store.storage import Storage
from models_store.tables import Model, TestOpening
from models_store.wording import rate, verdict
from service.models.validation import outcome
from tests.finished_experiment import LATER, FinalRecord, a_final_record, a_spec, store_experiment


def words(page: str) -> str:
    """The text of the page, without scripts and tags."""
    without = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", without)).split())


def page_data(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_recall_comes_first_and_the_test_set_opening_is_shown(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    experiment_id = make_result("a <b>bold</b> name")
    answer = client.get(f"/experiments/{experiment_id}/result")
    assert answer.status_code == 200
    shown = words(answer.text)
    headline = shown.split("Test results")[1]
    assert headline.strip().startswith(f"Recall (sensitivity) {rate(final.evaluation['recall'])}")
    assert final.calibration["guarantee"]["sentence"] in shown
    assert verdict(final.calibration["guarantee"], final.evaluation).sentence in shown
    assert DISCLAIMER in shown
    assert "Not promoted: does not beat <mdl_0> by f2." in shown
    assert "Not promoted: does not beat <mdl_0> by f2." in words(client.get(f"/experiments/{experiment_id}").text)
    assert "Other openings none recorded" in shown
    assert str(final.calibration["threshold"]) in shown
    assert "a <b>bold</b> name" in shown
    assert "<b>bold" not in answer.text


def test_every_miss_is_shown_and_every_plot_has_a_text_alternative(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    page = client.get(f"/experiments/{make_result()}/result").text
    assert page.count("data:image/png;base64,") == len(final.misses) > 0
    assert not re.search(r"= (<|>|&lt;|&gt;) \d", page)
    plots = re.findall(r'<div class="plot" id="(plot-[a-z-]+)" role="img" aria-label="([^"]{30,})"', page)
    assert [key for key, _ in plots] == [
        "plot-roc",
        "plot-precision-recall",
        "plot-reliability",
        "plot-decision-curve",
        "plot-sensitivity-by-diagnosis",
        "plot-specificity-by-diagnosis",
    ]


def test_a_missed_target_beside_a_valid_guarantee_is_not_shown_as_good(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    lesions = {"found": 80, "lesions": 100, "recall": 0.8, "interval": {"low": 0.708, "high": 0.873}}
    missed = final.evaluation | {"lesion_recall": lesions}
    experiment_id = make_result("missed", replace(final, evaluation=missed))
    for address in (f"/experiments/{experiment_id}/result", f"/models/mdl_{experiment_id}"):
        page = client.get(address).text
        assert '<p class="notice bad">Validly calibrated; of 100 malignant lesions of the test set 80 are ' in page


def test_the_result_page_states_whether_it_holds_for_new_lesions(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    leaking = client.get(f"/experiments/{make_result()}/result").text
    assert (
        "<code>dermatriage dataset split fabricated_28 --seed 0 --url http://testserver</code>"
        in leaking.split("Test results")[0]
    )
    assert "not an estimate for new lesions" in leaking
    grouped = replace(final, evaluation=final.evaluation | {"leaking_images": 0})
    clean = client.get(f"/experiments/{make_result('grouped', grouped)}/result").text
    assert "Every test lesion is new to the network." in clean
    assert "not an estimate for new lesions" not in clean


def test_people_and_diagnoses_are_shown_where_they_are_recorded_and_older_records_stand(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    shown = words(client.get(f"/experiments/{make_result('people', a_final_record(people=True))}/result").text)
    assert "Who is missed By sex The largest gap in recall is" in shown
    assert "too few to say anything about recall" in shown
    assert "Seven diagnoses The most probable of the seven diagnoses is the right one" in shown
    older = {name: value for name, value in final.evaluation.items() if name not in LATER}
    page = client.get(f"/experiments/{make_result('older', replace(final, evaluation=older))}/result").text
    assert "Test results" in page
    assert "Who is missed" not in page
    assert "plot-decision-curve" not in page


def test_slider_starts_at_the_chosen_threshold_with_the_recorded_values(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    page = client.get(f"/experiments/{make_result()}/result").text
    data, decision = page_data(page, "tradeoff-data"), final.calibration["decision"]
    assert data["stops"][data["chosen_index"]] == data["chosen"] == final.calibration["threshold"]
    found = outcome(data["scores"], data["malignant"], data["chosen"])
    assert (found.recall, found.specificity) == (decision["recall"], decision["specificity"])
    assert f'<dd id="t-recall">{rate(decision["recall"])}</dd>' in page
    assert f'<dd id="t-specificity">{rate(decision["specificity"])}</dd>' in page
    assert f'<dd id="t-missed">{50 * (1 - decision["recall"]):.1f}</dd>' in page
    assert f'<dd id="t-extra">{950 * (1 - decision["specificity"]):.0f}</dd>' in page
    assert "do not reproduce the recorded values" not in page


def test_slider_counts_malignant_lesions_as_the_guarantee_does_where_they_are_known(
    client: TestClient, make_result: Any, final: FinalRecord
) -> None:
    page, decision = client.get(f"/experiments/{make_result()}/result").text, final.calibration["decision"]
    assert f'<strong id="t-lesions">{decision["seen_misses"]}</strong> of {decision["malignant_lesions"]}' in page
    lowest = page_data(page, "tradeoff-data")["lowest_of_lesions"]
    assert sum(score < final.calibration["threshold"] for score in lowest) == decision["seen_misses"] > 0
    assert len(lowest) == decision["malignant_lesions"] < decision["malignant_images"]

    without = client.get(f"/experiments/{make_result('images', a_final_record(lesions=False))}/result").text
    assert "Recall and guarantee count images here" in without
    assert page_data(without, "tradeoff-data")["lowest_of_lesions"] is None


def test_scores_that_contradict_the_record_are_reported(
    client: TestClient, make_result: Any, database: Database
) -> None:
    experiment_id = make_result()
    with database.write() as session:
        model = session.query(Model).one()
        model.calibration = {**model.calibration, "decision": {**model.calibration["decision"], "recall": 0.5}}
    assert "do not reproduce the recorded values" in client.get(f"/experiments/{experiment_id}/result").text


def test_missing_scores_and_misses_remove_only_the_slider_and_the_images(
    client: TestClient, make_result: Any, storage: Storage
) -> None:
    experiment_id = make_result()
    for name in ("validation.json", "misses.json"):
        storage.delete(f"models/mdl_{experiment_id}/{name}")
    shown = words(client.get(f"/experiments/{experiment_id}/result").text)
    assert "The slider is not available for this model." in shown
    assert "The images are not available." in shown
    assert "Confusion matrix, test images" in shown


def test_other_openings_of_the_same_test_set_are_counted(client: TestClient, make_result: Any) -> None:
    first, second = make_result("first"), make_result("second")
    for experiment_id in (first, second):
        shown = words(client.get(f"/experiments/{experiment_id}/result").text)
        assert "Test set used more than once." in shown
        assert "1 other experiments" not in shown
        assert "1 other experiment, 0 of them before this one" in shown


def test_figures_without_an_opening_are_called_unproven(
    client: TestClient, make_result: Any, database: Database
) -> None:
    experiment_id = make_result()
    with database.write() as session:
        session.delete(session.get_one(TestOpening, experiment_id))
    assert "Do not rely on them" in words(client.get(f"/experiments/{experiment_id}/result").text)


@pytest.mark.parametrize(
    ("status", "phase", "headline"), [("queued", 0, "Not started."), ("running", 2, "Still running.")]
)
def test_an_experiment_without_a_result_shows_its_progress(
    client: TestClient, database: Database, status: str, phase: int, headline: str
) -> None:
    with database.write() as session:
        experiment_id = store_experiment(session, a_spec(), status, phase).id
    answer = client.get(f"/experiments/{experiment_id}/result")
    assert answer.status_code == 200
    assert f"{headline}" in words(answer.text)
    assert "The test set is still sealed." in words(answer.text)


def test_the_result_of_an_unknown_experiment_is_a_page(client: TestClient) -> None:
    answer = client.get("/experiments/exp_nobody/result")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
