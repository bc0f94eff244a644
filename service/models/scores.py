"""`GET /v1/models/{version}/validation`: what a program needs to move a threshold as the result's page does."""

from fastapi import APIRouter

from models_store import registry
from service.deps import Identifier, Reading, Services
from service.errors import Problem
from service.models.downloads import ALTERED, altered
from service.models.validation import ValidationNotKept, ValidationRead, read_validation
from service.openapi import problems

router = APIRouter()


@router.get("/{version}/validation", responses=problems(404, 422, 503))
def read_validation_scores(version: Identifier, session: Reading, services: Services) -> ValidationRead:
    """The scores of the validation images, for moving the threshold; test figures exist only at the sealed one."""
    model = registry.model(session, version)
    session.close()  # its connection is for others while the store is read
    try:
        return read_validation(model, services.storage)
    except ValidationNotKept as lacking:
        raise Problem(
            404,
            "validation-not-kept",
            "The bundle keeps no validation scores",
            str(lacking),
            "Run the study again: models made from now on keep them.",
        ) from lacking
    except ALTERED as changed:
        raise altered(changed) from changed
