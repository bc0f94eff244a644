"""Every page of the dashboard. None is part of the API's description."""

from fastapi import APIRouter

from service.dashboard import assets, models, result, sign_in, studies, system, try_it

router = APIRouter(include_in_schema=False)
for part in (assets, sign_in, studies, result, models, try_it, system):
    router.include_router(part.router)
