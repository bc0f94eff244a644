"""The broker's settings agree with each other and with the longest trial."""

import pytest
from pydantic import ValidationError

from models_store.broker import VISIBILITY_TIMEOUT_SECONDS, broker
from models_store.contract.specs import MAX_TRIAL_MINUTES, LimitsSpec
from models_store.settings import Settings


def test_no_trial_outlasts_the_visibility_timeout() -> None:
    assert MAX_TRIAL_MINUTES * 60 < VISIBILITY_TIMEOUT_SECONDS
    with pytest.raises(ValidationError, match="less than or equal to 1380"):
        LimitsSpec(trial_minutes=MAX_TRIAL_MINUTES + 1)


def test_visibility_timeout_is_the_same_in_all_three_places() -> None:
    celery = broker(Settings(_env_file=None))
    assert celery.conf.visibility_timeout == VISIBILITY_TIMEOUT_SECONDS
    for transport in (celery.conf.broker_transport_options, celery.conf.result_backend_transport_options):
        assert transport["visibility_timeout"] == VISIBILITY_TIMEOUT_SECONDS


def test_worker_fetches_no_message_beyond_its_slots() -> None:
    conf = broker(Settings(_env_file=None)).conf
    assert conf.worker_disable_prefetch
    assert conf.worker_prefetch_multiplier == 0
    assert conf.task_acks_late
