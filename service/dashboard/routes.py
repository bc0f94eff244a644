"""Every page of the dashboard. None is part of the API's description."""

from fastapi import APIRouter

from service.dashboard import (
    assets,
    experiment,
    experiment_list,
    models,
    new_experiment,
    result,
    sign_in,
    system,
    try_it,
)

router = APIRouter(include_in_schema=False)
for part in (assets, sign_in, experiment_list, new_experiment, result, experiment, models, try_it, system):
    router.include_router(part.router)
