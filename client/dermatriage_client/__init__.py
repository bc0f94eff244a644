"""The HTTP API of DermaTriage from Python, blocking (`Client`) and awaited (`AsyncClient`).

`docs/client.md` shows both from end to end. `dermatriage_client.schemas` holds the answers.
"""

from dermatriage_client.clients import AsyncClient, Client
from dermatriage_client.errors import DownloadAltered, Refused, ServerUnreachable
from dermatriage_client.requests import TaggedModel
from dermatriage_client.retries import Retries
from dermatriage_client.streams import Event

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
