"""What the service says of itself: that it lives, and what it needs to work."""

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The process answers."""

    status: str = Field("ok", examples=["ok"])


class Check(BaseModel):
    """One thing the service needs. `refused` names a newer champion that failed its checks."""

    ok: bool = Field(examples=[True])
    detail: str = Field(examples=["mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e answers"])
    refused: str | None = Field(None, examples=[None])


class Readiness(BaseModel):
    """Everything the service needs is there."""

    status: str = Field("ready", examples=["ready"])
    checks: dict[str, Check] = Field(
        examples=[
            {
                "database": {"ok": True, "detail": "answers", "refused": None},
                "broker": {"ok": True, "detail": "answers", "refused": None},
                "model": {"ok": True, "detail": "mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e answers", "refused": None},
            }
        ]
    )
