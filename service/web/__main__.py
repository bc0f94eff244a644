"""``python -m service.web`` serves the API in `WEB_PROCESSES` processes, with the settings of the environment."""

import os
import sys
import tempfile
from contextlib import ExitStack
from typing import Any

from models_store.settings import Settings

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
KEEP_ALIVE_SECONDS = 30
DRAIN_SECONDS = 20


def main() -> None:
    settings = Settings()
    # NumPy's matrices are small here; more threads would only compete with the requests. Set before NumPy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ExitStack() as ended:
        if settings.web_processes > 1 and MULTIPROCESS not in os.environ:
            # Set before prometheus_client is imported, here and in the processes that inherit it.
            os.environ[MULTIPROCESS] = ended.enter_context(tempfile.TemporaryDirectory(prefix="dermatriage-metrics-"))
        _serve(settings)


def _serve(settings: Settings) -> None:
    import uvicorn

    from migrations import migrate
    from service.access.gate import OpenAccessRefused, refuse_open_access
    from service.web import requests

    requests.configure()
    try:
        refuse_open_access(settings)
    except OpenAccessRefused as refused:
        sys.exit(str(refused))
    migrate(settings.database_url)
    uvicorn.run(
        "service.app:create",
        factory=True,
        workers=settings.web_processes,
        host=settings.host,
        port=settings.port,
        **server_options(settings),
    )


def server_options(settings: Settings) -> dict[str, Any]:
    """The options of uvicorn, the same wherever it is started."""
    from service.web.protocol import BoundedProtocol

    return {
        "http": BoundedProtocol,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": DRAIN_SECONDS,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies,
    }


if __name__ == "__main__":
    main()
