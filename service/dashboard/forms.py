"""What a page's form sent. That it is a form of ours was checked before, by `PageRoute`."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData


async def posted(request: Request) -> FormData:
    return await request.form()


Posted = Annotated[FormData, Depends(posted)]
