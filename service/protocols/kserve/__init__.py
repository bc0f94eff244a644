"""The Open Inference Protocol, version 2, over HTTP, as KServe and Triton speak it: the champion as `dermatriage`."""

from service.protocols.kserve.endpoints import router
from service.protocols.kserve.translation import Translation

__all__ = ["Translation", "router"]
