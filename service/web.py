"""``python -m service.web`` serves the API with the settings of the environment."""

import sys

import uvicorn

from migrations import upgrade
from models_store.database import Database
from models_store.settings import Settings
from service.app import create_app
from service.security import OpenAccessRefused


def main() -> None:
    settings = Settings()
    database = Database(settings.database_url)
    try:
        app = create_app(settings, database=database)
    except OpenAccessRefused as refused:
        sys.exit(str(refused))
    upgrade(database)
    uvicorn.run(app, host=settings.host, port=settings.port, server_header=False)


if __name__ == "__main__":
    main()
