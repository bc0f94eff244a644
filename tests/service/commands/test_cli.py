"""The command line against a real server: what it prints, and the exit codes that scripts rely on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models_store.database import Database
from models_store.datasets.synthetic import generate
from models_store.settings import Settings
from service.access import keys
from service.app import create_app
from service.cli.demo import dataset_name
from tests.service.recorded import end_experiment, fail_trial, succeed_experiment
from tests.service.served import served

Dermatriage = Callable[..., Any]
MakeModel = Callable[..., str]
SMALL = (70, 40, 40)


def test_unreachable_server_is_exit_code_3_and_shows_how_to_start_one(dermatriage: Dermatriage) -> None:
    ended = dermatriage("models")

    assert ended.exit_code == 3
    assert "make up" in ended.err
    assert "Traceback" not in ended.err


def test_address_without_a_scheme_is_exit_code_3(dermatriage: Dermatriage) -> None:
    ended = dermatriage("models", "--url", "nowhere.example")

    assert ended.exit_code == 3


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("missing.json", None, "cannot be read"),
        ("broken.json", "{", "is not JSON"),
        ("list.json", "[]", "one JSON object"),
        ("nameless.json", "{}", "names no data set"),
    ],
)
def test_unusable_spec_file_is_exit_code_2(
    dermatriage: Dermatriage, tmp_path: Path, name: str, content: str | None, finding: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)

    ended = dermatriage("submit", name)

    assert ended.exit_code == 2
    assert finding in ended.err


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (("submit",), "--preset"),
        (("submit", "--preset", "nobody"), "choose from"),
        (("submit", "--preset", "lptop"), "did you mean `laptop`?"),
        (("submit", "--preset", "demo"), "--dataset"),
    ],
)
def test_incomplete_submission_is_exit_code_2(
    dermatriage: Dermatriage, arguments: tuple[str, ...], finding: str
) -> None:
    ended = dermatriage(*arguments)

    assert ended.exit_code == 2
    assert finding in ended.err


def test_settings_that_cannot_be_used_are_named(dermatriage: Dermatriage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMATRIAGE_PORT", "many")

    ended = dermatriage("models")

    assert ended.exit_code == 2
    assert "DERMATRIAGE_PORT" in ended.err


@pytest.mark.usefixtures("server")
def test_preset_is_submitted_with_the_named_dataset(dermatriage: Dermatriage) -> None:
    submitted = dermatriage("submit", "--preset", "demo", "--dataset", "synthetic", "--json")

    assert submitted.exit_code == 0
    assert submitted.json["status"] == "queued"
    assert submitted.json["spec"]["dataset"] == "synthetic"


@pytest.mark.usefixtures("server")
def test_refused_submission_is_exit_code_2_with_the_servers_remedy(dermatriage: Dermatriage, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"dataset": "synthetic", "architectures": ["cnn_v1"]}')

    ended = dermatriage("submit", "spec.json")

    assert ended.exit_code == 2
    assert "/architectures: unknown 'cnn_v1'; did you mean `CNN_v1`?" in ended.err
    assert "None" not in ended.err


@pytest.mark.usefixtures("server")
def test_unknown_experiment_is_exit_code_2(dermatriage: Dermatriage) -> None:
    ended = dermatriage("cancel", "exp_none")

    assert ended.exit_code == 2
    assert "exp_none" in ended.err


@pytest.mark.usefixtures("server")
def test_queued_experiment_is_cancelled(dermatriage: Dermatriage) -> None:
    submitted = dermatriage("submit", "--preset", "demo", "--dataset", "synthetic", "--json").json

    ended = dermatriage("cancel", submitted["id"])

    assert ended.exit_code == 0
    assert "cancelled" in ended.out


@pytest.mark.usefixtures("server")
def test_watching_a_failed_experiment_is_exit_code_1_with_its_reason(
    dermatriage: Dermatriage, database: Database
) -> None:
    submitted = dermatriage("submit", "--preset", "demo", "--dataset", "synthetic", "--json").json
    fail_trial(database, submitted["id"])
    end_experiment(database, submitted["id"], "failed", error={"kind": "AllCollapsed", "message": "all collapsed"})

    ended = dermatriage("watch", submitted["id"])

    assert ended.exit_code == 1
    assert "all collapsed" in ended.err
    assert "CNN_v1/W3 collapsed  no epoch was eligible" in ended.out


@pytest.mark.usefixtures("server")
def test_watching_a_succeeded_experiment_prints_recall_first_with_its_interval(
    dermatriage: Dermatriage, database: Database
) -> None:
    submitted = dermatriage("submit", "--preset", "demo", "--dataset", "synthetic", "--json").json
    succeed_experiment(database, submitted["id"])

    ended = dermatriage("watch", submitted["id"])

    assert ended.exit_code == 0
    lines = ended.out.split("Test set", 1)[1].splitlines()
    assert lines[1].startswith("  70 of 200 test images show a lesion that training saw: these figures do not speak")
    assert "`dermatriage dataset split synthetic --seed 0`" in lines[1]
    assert lines[2].split() == ["RECALL", "0.910", "[0.850,", "0.950]"]
    assert "missed       9 of 100 malignant images" in ended.out
    assert "pr_auc       undefined" in ended.out


@pytest.mark.usefixtures("server")
def test_watch_prints_nothing_but_json_on_standard_output(dermatriage: Dermatriage, database: Database) -> None:
    submitted = dermatriage("submit", "--preset", "demo", "--dataset", "synthetic", "--json").json
    end_experiment(database, submitted["id"], "cancelled")

    ended = dermatriage("watch", submitted["id"], "--json")

    assert ended.json["status"] == "cancelled"
    assert ended.exit_code == 1


@pytest.mark.usefixtures("server")
def test_prediction_without_a_champion_is_exit_code_1_with_a_remedy(dermatriage: Dermatriage, tmp_path: Path) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "lesion.png")

    ended = dermatriage("predict", "lesion.png")

    assert ended.exit_code == 1
    assert "promote" in ended.err


@pytest.mark.usefixtures("server")
def test_refused_image_does_not_affect_the_others(
    dermatriage: Dermatriage, tmp_path: Path, make_model: MakeModel
) -> None:
    make_model(promote=True)
    Image.fromarray(np.full((28, 28, 3), 250, np.uint8)).save(tmp_path / "bright.png")
    (tmp_path / "text.png").write_text("no image")

    ended = dermatriage("predict", "text.png", "bright.png", "--json")

    refused, classified = ended.json
    assert ended.exit_code == 2
    assert refused["file"] == "text.png"
    assert refused["error"]
    assert classified["label"] == "malignant"


@pytest.mark.usefixtures("server")
def test_models_are_promoted_and_rolled_back_with_a_reason(dermatriage: Dermatriage, make_model: MakeModel) -> None:
    first, second = make_model(promote=True), make_model(threshold=0.4)

    promoted = dermatriage("promote", second, "--reason", "better recall")
    listed = dermatriage("models", "--json").json
    back = dermatriage("rollback", "--reason", "worse than it looked", "--json").json

    assert promoted.exit_code == 0
    assert [model["version"] for model in listed if model["champion"]] == [second]
    assert (back["version"], back["reason"]) == (first, "worse than it looked")


@pytest.mark.usefixtures("server")
def test_table_of_models_shows_whole_versions_in_a_pipe(dermatriage: Dermatriage, make_model: MakeModel) -> None:
    version = make_model(promote=True)

    assert version in dermatriage("models").out


def test_server_that_requires_keys_gets_the_one_of_the_environment(
    settings: Settings, database: Database, dermatriage: Dermatriage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as session:
        _, text = keys.create(session, "a script", ["admin"])
    app = create_app(settings.model_copy(update={"auth": "keys"}), database=database)

    with served(app) as url:
        refused = dermatriage("models", "--url", url)
        monkeypatch.setenv("DERMATRIAGE_API_KEY", text)
        answered = dermatriage("models", "--url", url, "--json")

    assert refused.exit_code == 4
    assert "key" in refused.err
    assert (answered.exit_code, answered.json) == (0, [])


@pytest.mark.usefixtures("server")
def test_catalog_lists_every_name(dermatriage: Dermatriage) -> None:
    out = dermatriage("catalog").out

    assert all(name in out for name in ("EffNet_v3", "LowLR", "W5", "laptop", "synthetic_224"))


def test_registered_dataset_is_described_by_name(dermatriage: Dermatriage, tmp_path: Path) -> None:
    generate(tmp_path / "clinic.npz", counts=SMALL)

    registered = dermatriage("dataset", "register", "clinic.npz", "--name", "clinic", "--json")
    by_path = dermatriage("dataset", "describe", "clinic.npz", "--json").json
    by_name = dermatriage("dataset", "describe", "clinic", "--json").json

    assert registered.exit_code == 0
    assert by_name == by_path
    assert by_name["sha256"] == registered.json["sha256"]
    assert [split["images"] for split in by_name["splits"].values()] == list(SMALL)


def test_lesions_in_several_splits_are_reported_with_the_command_that_separates_them(
    dermatriage: Dermatriage, tmp_path: Path
) -> None:
    generate(tmp_path / "clinic.npz", counts=SMALL)

    registered = dermatriage("dataset", "register", "clinic.npz", "--name", "clinic")
    described = dermatriage("dataset", "describe", "clinic")
    by_path = dermatriage("dataset", "describe", "clinic.npz")

    for output in (registered.out, described.out):
        assert "lesions have images in more than one split" in output
        assert "dermatriage dataset split clinic --seed 0" in output
    assert "Register the file, then make a split" in by_path.out


def test_split_is_registered_under_its_own_name_and_made_once(dermatriage: Dermatriage, tmp_path: Path) -> None:
    generate(tmp_path / "clinic.npz", counts=SMALL)
    dermatriage("dataset", "register", "clinic.npz", "--name", "clinic")

    made = dermatriage("dataset", "split", "clinic", "--seed", "3")
    again = dermatriage("dataset", "split", "clinic", "--seed", "3", "--json")
    described = dermatriage("dataset", "describe", "clinic_new_lesions_3", "--json")

    assert made.out.startswith("clinic_new_lesions_3 (sha256")
    assert "lesions shared between splits: none" in made.out
    assert again.json["name"] == "clinic_new_lesions_3"
    assert described.json["sha256"] == again.json["sha256"]
    assert described.json["lesions_on_two_sides"] == 0


def test_split_without_lesion_ids_is_exit_code_2_with_the_remedy(dermatriage: Dermatriage, tmp_path: Path) -> None:
    generate(tmp_path / "clinic.npz", counts=SMALL)
    (tmp_path / "clinic_lesions.csv").unlink()
    dermatriage("dataset", "register", "clinic.npz", "--name", "clinic")

    ended = dermatriage("dataset", "split", "clinic")

    assert ended.exit_code == 2
    assert "has no lesion ids" in ended.err
    assert "clinic_lesions.csv" in ended.err


def test_registering_a_file_again_adds_its_lesions(dermatriage: Dermatriage, tmp_path: Path) -> None:
    generate(tmp_path / "clinic.npz", counts=SMALL)
    lesions = (tmp_path / "clinic_lesions.csv").rename(tmp_path / "kept.csv")
    first = dermatriage("dataset", "register", "clinic.npz", "--name", "clinic", "--json")
    lesions.rename(tmp_path / "clinic_lesions.csv")

    again = dermatriage("dataset", "register", "clinic.npz", "--name", "clinic", "--json")

    assert first.json["shared_lesions"] is None
    assert again.json["shared_lesions"]["lesions"] > 0


def test_registering_the_same_file_again_changes_nothing(dermatriage: Dermatriage, tmp_path: Path) -> None:
    generate(tmp_path / "clinic.npz", counts=SMALL)
    first = dermatriage("dataset", "register", "clinic.npz", "--name", "clinic", "--json")

    again = dermatriage("dataset", "register", "clinic.npz", "--name", "clinic", "--json")

    assert (again.exit_code, again.json) == (0, first.json)


def test_name_of_a_dataset_keeps_its_first_content(dermatriage: Dermatriage, tmp_path: Path) -> None:
    generate(tmp_path / "clinic.npz", counts=SMALL)
    generate(tmp_path / "other.npz", counts=SMALL, seed=1)
    dermatriage("dataset", "register", "clinic.npz", "--name", "clinic")

    ended = dermatriage("dataset", "register", "other.npz", "--name", "clinic")

    assert ended.exit_code == 2
    assert "already names" in ended.err


@pytest.mark.parametrize("named", ["nowhere.npz", "unknown"])
def test_dataset_that_is_not_there_is_exit_code_2(dermatriage: Dermatriage, named: str) -> None:
    ended = dermatriage("dataset", "describe", named)

    assert ended.exit_code == 2
    assert named in ended.err


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ham10000_28.npz", "ham10000_28"),
        ("My Clinic (2024).npz", "my_clinic__2024"),
        ("dermamnist.npz", "dermamnist_file"),
        ("ü.npz", "data"),
    ],
)
def test_file_name_becomes_the_name_of_a_dataset(file: str, name: str) -> None:
    assert dataset_name(Path(file)) == name
