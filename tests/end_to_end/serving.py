"""The application alone, in a thread of this process: for pages that need no worker."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from models_store.settings import Settings
from service.app import create_app
from service.embedded import probes
from service.web.__main__ import server_options


@contextmanager
def served(folder: Path, database_url: str, **settings: Any) -> Iterator[str]:
    """Its address. The database has to be migrated; there is no broker unless `settings` name one."""
    port = probes.free()
    places = {"broker_url": "redis://127.0.0.1:1/0", "store_url": str(folder / "store"), "cache_root": folder / "cache"}
    chosen = Settings(**places | settings, database_url=database_url, port=port, _env_file=None)
    config = uvicorn.Config(create_app(chosen), port=port, lifespan="on", **server_options(chosen))
    server = uvicorn.Server(config)
    running = threading.Thread(target=server.run)
    running.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        running.join()
