"""A killed and resumed run equals an uninterrupted one."""

import subprocess
import sys
import tarfile
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from models_store.contract.outcomes import Epoch
from models_store.files import replacing
from tests.workers.pipeline.small_experiment import (
    NUMPY_COPY,
    schedule,
    small_data,
    small_model,
    still_model,
    unguarded,
)
from workers.pipeline.backend import configure
from workers.pipeline.networks.building import load_model
from workers.pipeline.training.resume import ResumePointMismatch, save_resume_point
from workers.pipeline.training.training import TrainingOutcome, train

pytestmark = pytest.mark.filterwarnings(NUMPY_COPY)


@pytest.fixture(scope="module", autouse=True)
def deterministic() -> None:
    configure("tensorflow", seed=0)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the pipeline may catch it."""


def run(folder: Path, kill_after: int | None = None, initial_seed: int = 3) -> tuple[TrainingOutcome, list[int]]:
    """The outcome of a run, and the numbers of the epochs that it reported."""
    reported: list[int] = []

    def on_epoch(epoch: Epoch) -> None:
        reported.append(epoch.number)
        if epoch.number == kill_after:
            raise Killed

    return train(small_model(initial_seed), small_data(), schedule(), unguarded(), folder, on_epoch), reported


def metrics(outcome: TrainingOutcome) -> list[dict[str, float]]:
    return [epoch.metrics for epoch in outcome.epochs]


@pytest.fixture(scope="module")
def uninterrupted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uninterrupted")


@pytest.fixture(scope="module")
def uninterrupted(uninterrupted_folder: Path) -> TrainingOutcome:
    return run(uninterrupted_folder)[0]


@pytest.mark.parametrize("kills", [(1,), (2, 3)], ids=str)
def test_a_killed_run_continues_with_the_very_same_metrics(
    kills: tuple[int, ...], tmp_path: Path, uninterrupted: TrainingOutcome
) -> None:
    # Given a run killed after one or several of its epochs
    for epoch in kills:
        with pytest.raises(Killed):
            run(tmp_path, kill_after=epoch)

    # When it continues, from other initial weights, which the resume point has to replace
    outcome, reported = run(tmp_path, initial_seed=99)

    # Then it equals the uninterrupted one, bit for bit, and every epoch was reported
    assert metrics(outcome) == metrics(uninterrupted)
    assert reported == [1, 2, 3, 4]
    assert outcome.best is not None
    assert uninterrupted.best is not None
    assert outcome.best.number == uninterrupted.best.number
    assert outcome.selection_scores is not None
    assert uninterrupted.selection_scores is not None
    assert outcome.selection_scores.tolist() == uninterrupted.selection_scores.tolist()
    assert _weights(outcome) == _weights(uninterrupted)


def test_a_run_killed_inside_an_epoch_repeats_that_epoch(
    tmp_path: Path, uninterrupted: TrainingOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run killed in its third epoch, after training and before anything of it is kept
    def kill_in_third(*arguments: Any) -> None:
        if len(arguments[-1].epochs) == 3:
            raise Killed
        save_resume_point(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("workers.pipeline.training.training.save_resume_point", kill_in_third)
        with pytest.raises(Killed):
            run(tmp_path)

    assert metrics(run(tmp_path)[0]) == metrics(uninterrupted)


def test_a_kill_between_checkpoint_and_state_leaves_the_previous_resume_point_whole(
    tmp_path: Path, uninterrupted: TrainingOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run killed when the checkpoint of its first epoch is written and its state is not
    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("workers.pipeline.training.resume.np.savez", kill)
        with pytest.raises(Killed):
            run(tmp_path)
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["epoch-1.keras"]

    assert metrics(run(tmp_path)[0]) == metrics(uninterrupted)


def test_a_finished_run_finishes_again_without_training(
    uninterrupted: TrainingOutcome, uninterrupted_folder: Path
) -> None:
    assert uninterrupted.checkpoint is not None
    uninterrupted.checkpoint.unlink()

    again, _ = run(uninterrupted_folder)

    assert again.epochs == uninterrupted.epochs  # the seconds too: no epoch ran anew
    assert uninterrupted.checkpoint.exists()


@pytest.mark.usefixtures("uninterrupted")
def test_a_run_does_not_continue_another_one(uninterrupted_folder: Path) -> None:
    with pytest.raises(ResumePointMismatch, match="train in an empty folder"):
        train(small_model(), small_data(), schedule(seed=12), unguarded(), uninterrupted_folder, lambda _: None)


def test_a_run_goes_on_from_a_resume_point_that_an_earlier_version_saved(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).with_name("resume_point_by_2339223.tar.gz")) as archive:
        archive.extractall(tmp_path, archive.getmembers())

    outcome, _ = run(tmp_path)

    assert [epoch.seconds for epoch in outcome.epochs[:2]] == [1.4643202170009317, 0.15683262399761588]
    assert len(outcome.epochs) == schedule().epochs


def test_only_the_best_checkpoint_and_the_state_stay_in_the_resume_point(
    uninterrupted: TrainingOutcome, uninterrupted_folder: Path
) -> None:
    assert uninterrupted.best is not None
    kept = {path.name for path in (uninterrupted_folder / "resume").iterdir()}
    assert kept == {"state.npz", f"epoch-{uninterrupted.best.number}.keras"}


def test_early_stopping_resumes_with_its_patience(tmp_path: Path) -> None:
    # Given a run whose first epoch stays the best, killed after its third
    still = schedule(epochs=30, patience=3, learning_rate=1e-12)

    def kill(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Killed

    with pytest.raises(Killed):
        train(still_model(), small_data(), still, unguarded(), tmp_path, kill)

    outcome = train(still_model(), small_data(), still, unguarded(), tmp_path, lambda _: None)

    assert (len(outcome.epochs), outcome.ended) == (4, "patience")


def test_a_full_disk_leaves_the_previous_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(b"previous")

    def write_on_a_full_disk() -> None:
        with replacing(path) as beside:
            beside.write_bytes(b"ha")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_on_a_full_disk()

    assert path.read_bytes() == b"previous"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["classic", "modern"])
def test_a_killed_run_continues_exactly_on_jax_too(recipe: str, tmp_path: Path) -> None:
    # Given the resume point of the first epoch of a run that goes on to its end
    script = dedent("""
        import shutil
        import sys
        from pathlib import Path
        from workers.pipeline.backend import configure
        configure("jax", seed=0)
        import keras
        from models_store.contract.recipes import RECIPES
        from workers.pipeline.training.targets import outputs_of
        from workers.pipeline.training.training import train
        from tests.workers.pipeline.small_experiment import schedule, small_data, small_model, unguarded

        whole, killed = Path(sys.argv[1], "whole"), Path(sys.argv[1], "killed")

        recipe = RECIPES[sys.argv[2]]
        options = schedule(epochs=2, batch_size=48, recipe=recipe)

        def run(folder, on_epoch):
            base = small_model()
            last = keras.layers.Dense(outputs_of(recipe.target), activation="softmax")
            model = keras.Model(base.inputs, last(base.layers[-2].output))
            return train(model, small_data(), options, unguarded(), folder, on_epoch)

        def copy_first(epoch):
            if epoch.number == 1:
                shutil.copytree(whole, killed)

        uninterrupted = run(whole, copy_first)
        resumed = run(killed, print)
        assert [epoch.metrics for epoch in resumed.epochs] == [epoch.metrics for epoch in uninterrupted.epochs]
        assert len(resumed.epochs) == 2
    """)
    finished = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script, str(tmp_path), recipe],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr


def _weights(outcome: TrainingOutcome) -> list[list[float]]:
    assert outcome.checkpoint is not None
    return [weight.ravel().tolist() for weight in load_model(outcome.checkpoint).get_weights()]
