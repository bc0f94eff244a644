"""``python -m migrations [REVISION]``: brings the schema of the configured database to a revision, by default the last.

``python -m migrations down REVISION`` goes back to one, which deletes what the later ones added.
"""

import sys

from migrations import downgrade, upgrade
from models_store import logs
from models_store.database import Database
from models_store.settings import Settings


def main(arguments: list[str]) -> None:
    logs.configure()
    database = Database(Settings().database_url)
    match arguments:
        case []:
            upgrade(database)
        case ["down", revision]:
            downgrade(database, revision)
        case [revision]:
            upgrade(database, revision)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
