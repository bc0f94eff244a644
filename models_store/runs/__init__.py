"""The only code that changes a status. The row is the truth; a message is a wake-up call.

Only a queued trial can be claimed, by one worker: the claim writes a lease and a new fencing token. Everything a worker
writes afterwards names that token, so a worker that lost its lease can write nothing more.

Every function locks the experiment's row before it touches a trial's: concurrent callers then queue up instead of
deadlocking, and an experiment's events are numbered in the order of their commits.
"""

from models_store.runs.claiming import CLAIM_ORDER, claim_next
from models_store.runs.deleting import ExperimentUnfinished, delete_experiment
from models_store.runs.deliveries import claim_due, record_address, record_delivery, record_failed_delivery
from models_store.runs.experiments import (
    advance,
    cancel,
    digest_of,
    end_if_cancelled,
    fail_experiment,
    finish_experiment,
    submit,
)
from models_store.runs.journal import (
    UNFINISHED,
    Claim,
    ClaimState,
    ExperimentNotFound,
    IdempotencyKeyReused,
    LeaseLost,
    find_experiment,
    trials_of,
)
from models_store.runs.recording import record
from models_store.runs.retrying import NotRetryable, retry
from models_store.runs.sweeping import cancelling, reclaim_expired, stop_overdue, with_expired_leases, with_time_limit
from models_store.runs.trials import (
    claim_state,
    confirm_cancelled,
    delete_epochs,
    end_if_experiment_cancelled,
    fail_trial,
    finish_trial,
    heartbeat,
    release,
    store_log,
    store_resume_point,
)

__all__ = [
    "CLAIM_ORDER",
    "UNFINISHED",
    "Claim",
    "ClaimState",
    "ExperimentNotFound",
    "ExperimentUnfinished",
    "IdempotencyKeyReused",
    "LeaseLost",
    "NotRetryable",
    "advance",
    "cancel",
    "cancelling",
    "claim_due",
    "claim_next",
    "claim_state",
    "confirm_cancelled",
    "delete_epochs",
    "delete_experiment",
    "digest_of",
    "end_if_cancelled",
    "end_if_experiment_cancelled",
    "fail_experiment",
    "fail_trial",
    "find_experiment",
    "finish_experiment",
    "finish_trial",
    "heartbeat",
    "reclaim_expired",
    "record",
    "record_address",
    "record_delivery",
    "record_failed_delivery",
    "release",
    "retry",
    "stop_overdue",
    "store_log",
    "store_resume_point",
    "submit",
    "trials_of",
    "with_expired_leases",
    "with_time_limit",
]
