"""The HTTP API from Python, blocking (`Client`) and awaited (`AsyncClient`); `docs/client.md` shows it from end to end.

Answers are the service's own schemas. Importing this imports neither the web application nor database nor Celery.
"""

from service.client.connections import AsyncClient, Client
from service.client.errors import DownloadAltered, Refused, ServerUnreachable
from service.client.requests import TaggedModel
from service.client.retrying import Retries
from service.client.watching import Event

__all__ = [
    "AsyncClient",
    "Client",
    "DownloadAltered",
    "Event",
    "Refused",
    "Retries",
    "ServerUnreachable",
    "TaggedModel",
]
