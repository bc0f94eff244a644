"""The Open Inference Protocol, version 2, over HTTP, as in KServe and Triton: the champion is `dermatriage`."""

from service.protocols.kserve.endpoints import router
from service.protocols.kserve.translation import Translation

__all__ = ["Translation", "router"]
