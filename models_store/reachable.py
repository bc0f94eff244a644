"""``python -m models_store.reachable``: ends with 0 if the configured database and broker answer; a health check."""

import sys

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from models_store.broker import redis_at
from models_store.database import Database
from models_store.settings import Settings

TIMEOUT_SECONDS = 3.0


def unreachable(settings: Settings) -> list[str]:
    """The services that do not answer, each with its cause; empty if all do."""
    found = []
    database = Database(settings.database_url)
    try:
        database.ping()
    except SQLAlchemyError as error:
        found.append(f"the database does not answer: {error}")
    finally:
        database.close()
    try:
        with redis_at(settings.broker_url, TIMEOUT_SECONDS) as broker:
            broker.ping()
    except (RedisError, OSError) as error:
        found.append(f"the broker does not answer: {error}")
    return found


def main(settings: Settings) -> None:
    sys.exit("; ".join(unreachable(settings)) or 0)


if __name__ == "__main__":
    main(Settings())
