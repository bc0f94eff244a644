"""The only code that changes a status. The row is the truth; a message is a wake-up call.

A trial is claimed while it is queued and by nobody else: the claim writes a lease and a new fencing token. Everything a
worker writes afterwards names that token, so a worker that lost its lease can write nothing more.

Every function locks the experiment's row before it touches a trial's: concurrent callers then queue up instead of
deadlocking, and an experiment's events are numbered in the order of their commits.
"""

from models_store.runs.claiming import claim_next
from models_store.runs.deliveries import delivered, not_delivered, take_due
from models_store.runs.experiments import (
    cancel,
    end_if_cancelled,
    fail_experiment,
    finish_experiment,
    open_phase,
    submit,
)
from models_store.runs.journal import (
    UNFINISHED,
    Claim,
    EpochReport,
    ExperimentNotFound,
    IdempotencyKeyReused,
    LeaseLost,
    PlannedTrial,
    ResumePoint,
    Standing,
    TrialResult,
)
from models_store.runs.sweeping import (
    cancelling,
    stop_overdue,
    take_back_expired,
    with_expired_leases,
    with_time_limit,
)
from models_store.runs.trials import (
    cancelled_meanwhile,
    confirm_cancelled,
    fail_trial,
    finish_trial,
    forget_epochs,
    hand_back,
    heartbeat,
    keep_log,
    keep_resume_point,
    standing,
)

__all__ = [
    "UNFINISHED",
    "Claim",
    "EpochReport",
    "ExperimentNotFound",
    "IdempotencyKeyReused",
    "LeaseLost",
    "PlannedTrial",
    "ResumePoint",
    "Standing",
    "TrialResult",
    "cancel",
    "cancelled_meanwhile",
    "cancelling",
    "claim_next",
    "confirm_cancelled",
    "delivered",
    "end_if_cancelled",
    "fail_experiment",
    "fail_trial",
    "finish_experiment",
    "finish_trial",
    "forget_epochs",
    "hand_back",
    "heartbeat",
    "keep_log",
    "keep_resume_point",
    "not_delivered",
    "open_phase",
    "standing",
    "stop_overdue",
    "submit",
    "take_back_expired",
    "take_due",
    "with_expired_leases",
    "with_time_limit",
]
