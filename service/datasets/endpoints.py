"""Register and read data sets, and split one by whole lesions."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from dermatriage_client.schemas import DatasetList, DatasetRead, NewSplit
from models_store.contract.specs import DatasetName
from models_store.tables import DatasetRow
from service.datasets.reading import builtin_datasets, show_dataset, show_datasets
from service.datasets.splitting import make_split
from service.datasets.uploading import register_upload
from service.dependencies import Reading, Service, Services
from service.errors import Problem
from service.web.api_docs import problems

router = APIRouter(tags=["data sets"])

Name = Annotated[DatasetName, Path()]
NewName = Annotated[DatasetName, Query(description="The name that experiments will use.")]
FILE = {"type": "string", "format": "binary"}
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": FILE, "lesions": FILE, "patients": FILE},
                    "additionalProperties": False,
                },
                "example": {"file": "(the bytes of clinic.npz)", "lesions": "(the bytes of clinic_lesions.csv)"},
            },
            "application/octet-stream": {"schema": FILE, "example": "(the bytes of clinic.npz)"},
        },
    }
}


@router.get("/v1/datasets", responses=problems())
def list_datasets(session: Reading) -> DatasetList:
    """Every data set an experiment may name."""
    return DatasetList(items=show_datasets(session))


@router.post(
    "/v1/datasets",
    status_code=201,
    responses={
        200: {"model": DatasetRead, "description": "This file was registered under this name before."},
        **problems(
            "dataset-name-refused",
            "content-too-large",
            "invalid-request",
            "dataset-invalid",
            "overloaded",
            "dataset-unavailable",
            "disk-full",
        ),
    },
    openapi_extra=UPLOAD,
)
async def register_dataset(name: NewName, services: Services, request: Request, response: Response) -> DatasetRead:
    """Registers an npz file in MedMNIST layout, with its lesions and patients tables, under a name for experiments.

    Without tables the body may be the file itself. Everything is checked before anything is stored, and a name keeps
    the content it was first given. An upload is limited by `MAX_DATASET_BYTES` and `DATASET_UPLOAD_SECONDS`; a larger
    file is registered on the server, by `dermatriage dataset register --direct`.
    """
    return _located(*await register_upload(services, request, name), request, response)


@router.get("/v1/datasets/{name}", responses=problems("dataset-not-found", "invalid-request"))
def read_dataset(name: Name, session: Reading) -> DatasetRead:
    row = session.get(DatasetRow, name)
    if row is not None:
        return show_dataset(row)
    for builtin in builtin_datasets():
        if builtin.name == name:
            return builtin
    raise Problem(
        "dataset-not-found",
        f"no data set is called {name!r}",
        f"GET /v1/datasets lists all data sets; `dermatriage dataset register PATH --name {name}` adds one.",
    )


@router.post(
    "/v1/datasets/{name}/split",
    status_code=201,
    responses={
        200: {"model": DatasetRead, "description": "This split was made before."},
        **problems(
            "dataset-not-found",
            "dataset-name-refused",
            "invalid-request",
            "lesions-unknown",
            "dataset-invalid",
            "split-under-way",
            "dataset-unavailable",
        ),
    },
)
def split_dataset(name: Name, new: NewSplit, services: Services, request: Request, response: Response) -> DatasetRead:
    """Makes a split by whole lesions, so that no lesion of the test set was trained on.

    It is a data set with a name of its own, at `Location`. The data set needs lesion ids.
    """
    return _located(*split_exclusively(services, name, new.seed), request, response)


def _located(made: DatasetRow, is_new: bool, request: Request, response: Response) -> DatasetRead:
    response.headers["Location"] = request.url_for("read_dataset", name=made.name).path
    response.status_code = 201 if is_new else 200
    return show_dataset(made)


def split_exclusively(services: Service, name: str, seed: int) -> tuple[DatasetRow, bool]:
    """`make_split`, one at a time in this process: each holds most of a data set in memory.

    Raises `Problem` and `DatasetError`.
    """
    if not services.splitting.acquire(blocking=False):
        raise Problem("split-under-way", headers={"Retry-After": "60"})
    try:
        return make_split(name, seed, database=services.database, storage=services.storage, settings=services.settings)
    finally:
        services.splitting.release()
