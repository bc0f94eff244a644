"""Every page of the dashboard. None is part of the API's description."""

from fastapi import APIRouter

from service.dashboard import assets, models, new_study, result, sign_in, studies, study, system, try_it

router = APIRouter(include_in_schema=False)
for part in (assets, sign_in, studies, new_study, result, study, models, try_it, system):
    router.include_router(part.router)
