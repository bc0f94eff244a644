"""The only code that changes a status. The row is the truth; a message is a wake-up call.

A trial is claimed while it is queued and by nobody else: the claim writes a lease and a new fencing token. Everything a
worker writes afterwards names that token, so a worker that lost its lease can write nothing more.

Every function locks the experiment's row before it touches a trial's: concurrent callers then queue up instead of
deadlocking, and an experiment's events are numbered in the order of their commits.
"""

from models_store.runs.claiming import CLAIM_ORDER, claim_next
from models_store.runs.deleting import ExperimentUnfinished, delete_experiment
from models_store.runs.deliveries import delivered, not_delivered, note_address, take_due
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
    ExperimentNotFound,
    IdempotencyKeyReused,
    LeaseLost,
    Standing,
    find_experiment,
    trials_of,
)
from models_store.runs.recording import record
from models_store.runs.retrying import NotRetryable, retry
from models_store.runs.sweeping import cancelling, reclaim_expired, stop_overdue, with_expired_leases, with_time_limit
from models_store.runs.trials import (
    cancelled_meanwhile,
    confirm_cancelled,
    fail_trial,
    finish_trial,
    forget_epochs,
    heartbeat,
    release,
    standing,
    store_log,
    store_resume_point,
)

__all__ = [
    "CLAIM_ORDER",
    "UNFINISHED",
    "Claim",
    "ExperimentNotFound",
    "ExperimentUnfinished",
    "IdempotencyKeyReused",
    "LeaseLost",
    "NotRetryable",
    "Standing",
    "advance",
    "cancel",
    "cancelled_meanwhile",
    "cancelling",
    "claim_next",
    "confirm_cancelled",
    "delete_experiment",
    "delivered",
    "digest_of",
    "end_if_cancelled",
    "fail_experiment",
    "fail_trial",
    "find_experiment",
    "finish_experiment",
    "finish_trial",
    "forget_epochs",
    "heartbeat",
    "not_delivered",
    "note_address",
    "reclaim_expired",
    "record",
    "release",
    "retry",
    "standing",
    "stop_overdue",
    "store_log",
    "store_resume_point",
    "submit",
    "take_due",
    "trials_of",
    "with_expired_leases",
    "with_time_limit",
]
