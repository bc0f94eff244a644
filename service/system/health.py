"""Whether the process runs, and whether it can do its work."""

from threading import Thread
from typing import Any

from fastapi import APIRouter
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from dermatriage_client.schemas import Check, Health, Readiness
from models_store.broker import redis_at
from service.dependencies import Service, Services
from service.errors import Problem
from service.web.api_docs import problems

router = APIRouter(tags=["health"])
STORE_TIMEOUT_SECONDS = 3.0


@router.get("/healthz", responses=problems())
async def read_health() -> Health:
    """Answers while the process runs, even if every thread waits for a database that does not answer."""
    return Health()


@router.get("/readyz", responses=problems("not-ready"))
def read_readiness(services: Services) -> Readiness:
    """Checks database, broker and model; 503 names what is missing."""
    needed = {"database": _database(services), "broker": _broker(services), "model": _public_model_check(services)}
    failed = [name for name, check in needed.items() if not check.ok]
    if failed:
        shown: dict[str, Any] = {name: check.model_dump() for name, check in needed.items()}
        raise Problem(
            "not-ready",
            "; ".join(f"{name}: {needed[name].detail}" for name in failed),
            checks=shown,
        )
    return Readiness(checks=needed)


def checks(services: Service) -> dict[str, Check]:
    """Everything the service needs, also the store, whose check may be slow."""
    return {
        "database": _database(services),
        "broker": _broker(services),
        "store": _store(services),
        "model": _model(services),
    }


def _database(services: Service) -> Check:
    try:
        services.database.ping()
    except SQLAlchemyError as error:
        return Check(ok=False, detail=f"it does not answer ({type(error).__name__})")
    return Check(ok=True, detail="answers")


def _broker(services: Service) -> Check:
    try:
        with redis_at(services.settings.broker_url) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return Check(ok=False, detail=f"it does not answer ({type(error).__name__})")
    return Check(ok=True, detail="answers")


def _store(services: Service) -> Check:
    """Checks in a thread, because the driver of an object store may wait for minutes if the store does not answer."""
    details: list[str] = []

    def check() -> None:
        try:
            services.storage.exists("models")
            details.append("answers")
        except Exception as error:  # whatever the store's driver raises
            details.append(f"it does not answer ({type(error).__name__})")

    checking = Thread(target=check, name="store", daemon=True)
    checking.start()
    checking.join(STORE_TIMEOUT_SECONDS)
    detail = details[0] if details else f"it did not answer within {STORE_TIMEOUT_SECONDS:g} s"
    return Check(ok=detail == "answers", detail=detail)


def _public_model_check(services: Service) -> Check:
    """As `_model`, without the reason of a refusal, which names files and addresses and is in the log."""
    check = _model(services)
    if check.refused is None:
        return check
    refused = f"{check.refused.partition(':')[0]} failed its checks; the log says why"
    return Check(ok=check.ok, detail=check.detail if check.ok else refused, refused=refused)


def _model(services: Service) -> Check:
    services.predictor.refresh()
    serving, refusal = services.predictor.serving, services.predictor.refusal
    refused = None if refusal is None else f"{refusal.version}: {refusal.reason}"
    if serving is None:
        return Check(ok=False, detail=refused or "no model has been promoted", refused=refused)
    return Check(ok=True, detail=f"{serving.version} answers", refused=refused)
