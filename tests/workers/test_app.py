"""The slots and the queues of a worker."""

import os
import subprocess
import sys
from typing import Any

import pytest

from models_store.settings import Settings
from workers.worker.context import Slot, queues, slots


@pytest.mark.parametrize(
    ("changes", "gpus", "listened"),
    [
        ({}, [None], ["cpu"]),
        ({"worker_slots": 3}, [None] * 3, ["cpu"]),
        ({"gpus": "0,1"}, ["0", "1"], ["cpu", "gpu"]),
        ({"gpus": " 2 ", "worker_slots": 8}, ["2"], ["cpu", "gpu"]),
        ({"gpus": "0", "worker_queues": "gpu"}, ["0"], ["gpu"]),
        ({"worker_queues": "gpu"}, [None], []),
    ],
)
def test_worker_has_one_slot_for_each_gpu_and_takes_gpu_trials_only_with_one(
    changes: dict[str, Any], gpus: list[str | None], listened: list[str]
) -> None:
    settings = Settings(_env_file=None, **changes)
    assert [slot.gpu for slot in slots(settings)] == gpus
    assert queues(settings) == listened


def test_worker_without_a_queue_names_the_missing_setting() -> None:
    environment = os.environ | {"DERMATRIAGE_WORKER_QUEUES": "gpu", "DERMATRIAGE_GPUS": ""}
    ended = subprocess.run(
        [sys.executable, "-m", "workers"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "DERMATRIAGE_GPUS" in ended.stderr


@pytest.mark.parametrize(("slot", "visible"), [(Slot("3"), "3"), (Slot(), "-1")])
def test_trial_sees_its_own_gpu_or_none(slot: Slot, visible: str) -> None:
    assert slot.environment == {"CUDA_VISIBLE_DEVICES": visible}
