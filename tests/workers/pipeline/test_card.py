"""The model card states the record, with its warnings first."""

import base64
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from models_store import wording
from models_store.contract.figures import Miss
from tests.finished_experiment import LATER, FinalRecord, a_final_record, a_spec
from workers.pipeline.evaluation.evaluation import pictured


@pytest.fixture(scope="module")
def final() -> FinalRecord:
    return a_final_record()


def header(card: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(card.split("---")[1])
    return parsed


def section(card: str, title: str) -> str:
    return card.split(f" {title}\n", 1)[1].split("\n#", 1)[0]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_metadata_is_yaml_that_repeats_the_test_figures_recall_first(final: FinalRecord) -> None:
    metadata = header(final.card())
    assert metadata["license"] == "cc-by-nc-4.0"
    assert metadata["pipeline_tag"] == "image-classification"
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["revision"] == final.about["dataset_sha256"]
    assert [metric["type"] for metric in result["metrics"]][:2] == ["recall", "specificity"]
    assert result["metrics"][0]["value"] == final.evaluation["recall"]
    assert result["metrics"][5]["value"] == final.evaluation["roc_auc"]


@pytest.mark.parametrize(
    ("title", "part"),
    [
        ("Test figures", None),
        ("New lesions", "leak_free"),
        ("At the uncalibrated threshold 0.5", "at_half"),
    ],
)
def test_each_table_of_figures_equals_its_record(final: FinalRecord, title: str, part: str | None) -> None:
    record = final.evaluation if part is None else final.evaluation[part]
    shown = {row[0]: row[1:] for row in rows(section(final.card(), title))}
    for name in wording.AT_THE_SAMPLE:
        value, interval = shown[wording.FIGURES[name]][:2]
        assert float(value) == pytest.approx(record[name], abs=5e-4)
        low, high = (float(limit) for limit in interval.split(" to "))
        assert low == pytest.approx(record["intervals"][name]["low"], abs=5e-4)
        assert high == pytest.approx(record["intervals"][name]["high"], abs=5e-4)
    confusion = record["confusion"]
    assert shown[wording.FIGURES["recall"]][2] == f"{confusion['tp']} of {confusion['tp'] + confusion['fn']}"


def test_sensitivity_by_diagnosis_is_separate_from_specificity_by_diagnosis(final: FinalRecord) -> None:
    shown = rows(section(final.card(), "By diagnosis"))
    assert shown[0][:2] == ["Malignant diagnosis", "Sensitivity"]
    assert shown[4][:2] == ["Benign diagnosis", "Specificity"]
    assert shown[1][0] == "melanoma"
    recorded = [(wording.DIAGNOSES[d["diagnosis"]], wording.rate(d["rate"])) for d in final.evaluation["diagnoses"]]
    assert [(row[0], row[1]) for row in (*shown[1:4], *shown[5:])] == recorded


def test_threshold_and_guarantee_are_quoted(final: FinalRecord) -> None:
    text = section(final.card(), "Threshold and guarantee")
    assert str(final.calibration["threshold"]) in text
    assert final.calibration["guarantee"]["sentence"] in text
    assert "at least 95 % of the thresholds" in text
    verdict = wording.verdict(final.calibration["guarantee"], final.evaluation).sentence
    assert verdict in final.card().split("## Intended use")[0]
    assert final.card().count(verdict) == 1
    assert "Among thresholds with the same specificity on the calibration images the lowest was chosen" in text
    assert "NO GUARANTEE" not in final.card()


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        ("val_recall", "the highest recall among epochs whose specificity is at least 0.40; ROC AUC breaks ties"),
        ("val_f2", "the highest F2 among epochs whose specificity is at least 0.40; ROC AUC breaks ties"),
        ("specificity_at_recall", "the highest specificity at the target recall; ROC AUC breaks ties"),
        ("val_recall_unguarded", "the highest recall, regardless of specificity"),
    ],
)
def test_only_a_policy_with_a_floor_on_specificity_names_it(final: FinalRecord, policy: str, rule: str) -> None:
    chosen = replace(final, about=final.about | {"selection": {"policy": policy, "min_specificity": 0.4}})
    assert f"by `{policy}`: {rule}.\n" in section(chosen.card(), "Training")


def test_augmentation_is_that_of_the_recipe(final: FinalRecord) -> None:
    assert "rotation up to 20°, shifts of 15 %, zoom of 10 %, flips" in section(final.card(), "Training")
    trial = final.about["trial"] | {"recipe": "modern"}
    modern = replace(final, about=final.about | {"trial": trial})
    assert "rotation up to 180°, shifts of 10 %, zoom of 10 %, flips" in section(modern.card(), "Training")


def test_calibration_images_of_trained_lesions_weaken_the_guarantee_in_words(final: FinalRecord) -> None:
    assert "25 of 500 calibration images show a lesion that is also in train" in final.card()


def test_card_warns_of_a_guarantee_voided_by_reuse() -> None:
    card = a_final_record(a_spec(calibration={"reuse": True})).card()
    assert "**NO GUARANTEE HOLDS" in card.split("## Intended use")[0]
    assert "nothing about recall on new images" in card


def test_a_fallback_is_named_beside_the_policy_asked_for() -> None:
    options = {"target_recall": 0.99, "fallback": "youden"}
    card = a_final_record(a_spec(calibration=options)).card()
    assert "Chosen by `youden` instead of `np_sensitivity`, which was asked for" in card
    assert "**NO GUARANTEE HOLDS" in card


def test_card_warns_of_synthetic_data_and_gives_them_another_licence() -> None:
    card = a_final_record(synthetic=True).card()
    assert "**SYNTHETIC DATA." in card.split("## Intended use")[0]
    assert header(card)["license"] == "apache-2.0"
    assert "synthetic-data" in header(card)["tags"]


@pytest.mark.parametrize(("architecture", "loud"), [("VGG_v3", True), ("CNN_v1", False)])
def test_card_warns_of_a_base_without_imagenet_weights(architecture: str, loud: bool) -> None:
    card = a_final_record(a_spec(weights="none"), architecture=architecture).card()
    assert ("**NO IMAGENET WEIGHTS." in card) is loud
    assert ("ImageNet, for the base" in a_final_record(architecture=architecture).card()) is loud


def test_without_lesion_ids_the_card_states_that_leaks_are_unknown() -> None:
    card = a_final_record(lesions=False).card()
    assert "**Leakage: not known.**" in card
    assert "It is unknown whether these figures speak for new lesions" in section(card, "New lesions")


def test_card_warns_of_a_test_set_with_trained_lesions(final: FinalRecord) -> None:
    leaking, images = final.evaluation["leaking_images"], final.evaluation["images"]
    sentence = f"{leaking} of {images} test images show a lesion that training saw"
    assert f"> **NOT MEASURED ON NEW LESIONS. {sentence}" in final.card().split("**recall (sensitivity)")[0]
    assert "`dermatriage dataset split fabricated_28 --seed 0`" in section(final.card(), "New lesions")
    assert "not an estimate for new lesions" in section(final.card(), "New lesions")


def test_a_test_set_of_new_lesions_is_named_and_shown_once(final: FinalRecord) -> None:
    grouped = replace(final, evaluation=final.evaluation | {"leaking_images": 0})
    shown = section(grouped.card(), "New lesions")
    assert shown.strip() == "Every test lesion is new to the network."


def test_likelihood_ratios_calibration_and_net_benefit_are_on_the_card_unless_the_record_is_older(
    final: FinalRecord,
) -> None:
    ratio = final.evaluation["positive_likelihood_ratio"]
    shown = rows(section(final.card(), "Likelihood ratios"))[1]
    assert shown[:3] == [
        "Positive likelihood ratio",
        f"{ratio['value']:.2f}",
        f"{ratio['interval']['low']:.2f} to {ratio['interval']['high']:.2f}",
    ]
    names = [row[0] for row in rows(section(final.card(), "Are the probabilities honest?"))]
    assert names[-3:] == ["Expected calibration error (ECE)", "Calibration intercept", "Calibration slope"]
    net_benefit = rows(section(final.card(), "Decision curve"))[1:]
    assert [row[0] for row in net_benefit] == ["5 %", "10 %", "20 %", "30 %", "40 %", "50 %"]
    assert float(net_benefit[1][1]) == pytest.approx(final.evaluation["decision_curve"][9]["model"], abs=5e-4)
    older = replace(final, evaluation={name: final.evaluation[name] for name in final.evaluation if name not in LATER})
    for title in ("Likelihood ratios", "Decision curve", "Calibration slope"):
        assert title in final.card()
        assert title not in older.card()


def test_figures_by_group_are_on_the_card_where_groups_are_known(final: FinalRecord) -> None:
    people = a_final_record(people=True)
    shown = section(people.card(), "Who is missed")
    sex, age = people.evaluation["groupings"]
    assert f"The largest gap in recall is {sex['largest_recall_gap']:.3f}" in shown
    assert "0/39 (too few images)" in shown
    assert "too few to say anything about recall" in shown
    tables = [row for row in rows(shown) if row[0] != "Group"]
    assert [len(row) for row in tables] == [7] * (len(sex["groups"]) + len(age["groups"]))
    assert "Who is missed" not in final.card()


def test_seven_diagnoses_are_on_the_card_where_the_network_predicts_them(final: FinalRecord) -> None:
    people = a_final_record(people=True)
    shown = section(people.card(), "Seven diagnoses")
    seven = people.evaluation["seven"]
    assert [[int(cell) for cell in row[1:]] for row in rows(shown)[1:]] == [list(row) for row in seven["confusion"]]
    assert wording.rate(seven["macro_auc"]) in shown
    assert "Seven diagnoses" not in final.card()


def test_card_states_the_cut_of_the_distribution_or_that_there_is_none(final: FinalRecord) -> None:
    title = "Images unlike the training images"
    text = section(final.card(), title)
    assert "**1.700**" in text
    assert "99 % of the 500 calibration images" in text
    assert "one such image in 100" in text
    older = replace(final, calibration={key: final.calibration[key] for key in final.calibration if key != "likeness"})
    assert "Not known" in section(older.card(), title)


def test_card_states_what_an_answer_costs_and_on_which_machine(final: FinalRecord) -> None:
    text = " ".join(section(final.card(), "Cost of an answer").split())
    assert "**1.25 ms** for one image: the median of 31 runs on one thread of the machine that tested the model" in text
    assert "(fabricated, 2 CPUs)" in text
    assert "It runs one network once." in text
    member = {"name": "CNN_v1/W3", "trial": final.about["trial"]}
    averaged = replace(final, about=final.about | {"views": 8, "members": [member] * 3})
    assert "It runs a network 24 times (8 views, 3 networks)." in section(averaged.card(), "Cost of an answer")


def test_environment_and_commit_are_on_the_card_or_said_to_be_missing(final: FinalRecord) -> None:
    assert "`0123456789abcdef0123456789abcdef01234567`" in section(final.card(), "Environment")
    assert "not recorded" in section(final.card({}), "Environment")


def test_the_card_forbids_medical_use_and_cites_its_sources(final: FinalRecord) -> None:
    card = final.card()
    for needed in ("Not a medical device", "Stop using it", "TRIPOD+AI", "Tschandl", "MedMNIST v2", "Neyman-Pearson"):
        assert needed in card
    assert not re.search(r"\{\{|\{%|None", card)


def test_misses_keep_their_pixels() -> None:
    # Given two images, the second of them missed
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    # When it is pictured
    (miss,) = pictured([Miss(index=1, diagnosis="mel", probability=0.01)], images)
    # Then the picture is that image
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(miss.png))))
    np.testing.assert_array_equal(decoded, images[1])
    assert (miss.index, miss.diagnosis, miss.probability) == (1, "mel", 0.01)
