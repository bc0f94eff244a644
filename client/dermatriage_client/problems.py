"""The body of every error of the service: problem+json (RFC 9457) with a remedy."""

from typing import Any

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"
# Followed by the name of a kind, the address of a page on the server that explains it.
KIND_PREFIX = "/problems/"


class Finding(BaseModel):
    """One thing wrong with a request: `pointer` (RFC 6901) into the body, or the name of a `parameter`."""

    detail: str
    pointer: str | None = Field(None, description="JSON pointer into the request body.", examples=["/epochs"])
    parameter: str | None = Field(None, description="Query, path or header parameter.", examples=["limit"])


class ProblemDocument(BaseModel):
    """The body of every error, RFC 9457 with a remedy."""

    type: str = Field(examples=["/problems/experiment-not-found"])
    title: str = Field(examples=["There is no such experiment"])
    status: int = Field(ge=400, le=599, examples=[404])
    detail: str = Field(examples=["there is no experiment exp_0"])
    remedy: str = Field(examples=["GET /v1/experiments lists those there are."])
    instance: str = Field(description="Path of the request.", examples=["/v1/experiments/exp_0"])
    errors: list[Finding] | None = Field(None, description="What validation found, one entry a field.")
    checks: dict[str, Any] | None = Field(None, description="What `/readyz` checked.")
