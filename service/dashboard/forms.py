"""What a page's form sent, taken only from our own pages."""

import hmac
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData

from service.dashboard.shell import Viewing
from service.errors import Problem


async def posted(request: Request, viewer: Viewing) -> FormData:
    """The fields of the form. Raises `Problem` 403 unless `form_token` is that of the viewer's session."""
    fields = await request.form()
    if not hmac.compare_digest(str(fields.get("form_token", "")).encode(), viewer.form_token.encode()):
        raise Problem(
            403,
            "forbidden",
            "The form is out of date",
            "it was made for another session than the one that sends it",
            "Load the page again and send the form once more.",
        )
    return fields


Posted = Annotated[FormData, Depends(posted)]
