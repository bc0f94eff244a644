"""From the name of a data set to a checked file on this machine."""

from pathlib import Path
from typing import Protocol

from models_store.datasets.errors import ChecksumMismatch, DatasetUnavailable, DatasetUnknown
from models_store.datasets.labels import assert_official_counts
from models_store.datasets.layout import verify_layout
from models_store.datasets.lesions import lesions_path
from models_store.datasets.official import (
    DOWNLOAD_FAILURES,
    OFFICIAL_NAMES,
    download,
    official_file,
    require_digest,
)
from models_store.datasets.patients import patients_path
from models_store.datasets.synthetic import GENERATOR_VERSION, SYNTHETIC_SETS, generate
from models_store.files import replacing

BUILTIN_NAMES = (*OFFICIAL_NAMES, *SYNTHETIC_SETS)


class Registered(Protocol):
    """What is recorded of a registered data set."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def store_key(self) -> str: ...
    @property
    def lesions_store_key(self) -> str | None: ...
    @property
    def patients_store_key(self) -> str | None: ...


class FileSource(Protocol):
    """The part of the store that is needed to fetch a data set."""

    def get_file(self, key: str, target: Path) -> None: ...


def is_builtin(name: str) -> bool:
    """Say whether a name is one of the official or synthetic sets, which need no registration."""
    return name in BUILTIN_NAMES


def resolve(
    name: str, *, data_root: Path, cache_root: Path, registered: Registered | None, storage: FileSource | None
) -> Path:
    """Return a local npz file in MedMNIST layout whose checksum has just been compared.

    Official sets are looked for in `data_root`, then in MedMNIST's own cache, then downloaded; synthetic ones are
    generated once; registered ones are fetched once from `storage`. Raises `DatasetUnknown`, `DatasetUnavailable` or
    `ChecksumMismatch`.
    """
    if name in OFFICIAL_NAMES:
        return _official(name, data_root)
    if name in SYNTHETIC_SETS:
        return _synthetic(name, cache_root)
    if registered is None or storage is None:
        known = ", ".join(BUILTIN_NAMES)
        raise DatasetUnknown(
            f"no data set is registered as '{name}'",
            f"Register it with `dermatriage dataset register PATH --name {name}`, or use one of {known}",
        )
    return _fetched(registered, storage, cache_root)


def local_copies(name: str, data_root: Path) -> tuple[Path, Path]:
    """Return where an official file may lie on this machine: in `data_root`, and in MedMNIST's own cache."""
    return data_root / f"{name}.npz", Path.home() / ".medmnist" / f"{name}.npz"


def _official(name: str, data_root: Path) -> Path:
    source = official_file(name)
    local, cached = local_copies(name, data_root)
    path = next((candidate for candidate in (local, cached) if candidate.exists()), None)
    if path is None:
        path = local
        try:
            download(source, path)
        except (*DOWNLOAD_FAILURES, ChecksumMismatch) as error:
            raise DatasetUnavailable(
                f"{name} is neither at {local} nor at {cached}, and its download from {source.url} failed ({error})",
                f"Copy the official file to {local}, or use the data set 'synthetic'",
            ) from error
    else:
        require_digest(path, algorithm="md5", expected=source.md5, remedy="Delete it to have it downloaded again")
    assert_official_counts(verify_layout(path).labels)
    return path


def _synthetic(name: str, cache_root: Path) -> Path:
    path = cache_root / "datasets" / f"synthetic-{GENERATOR_VERSION}" / f"{name}.npz"
    if not path.exists():
        image_size, counts = SYNTHETIC_SETS[name]
        with replacing(path) as scratch:
            generate(scratch, image_size=image_size, counts=counts)
            lesions_path(scratch).replace(lesions_path(path))
    return path


def _fetched(registered: Registered, storage: FileSource, cache_root: Path) -> Path:
    path = cache_root / "datasets" / registered.sha256 / f"{registered.name}.npz"
    try:
        _fetch_beside(registered.lesions_store_key, lesions_path(path), storage)
        _fetch_beside(registered.patients_store_key, patients_path(path), storage)
        if not path.exists():
            with replacing(path) as scratch:
                storage.get_file(registered.store_key, scratch)
                _require_sha256(scratch, registered, "The copy in the store changed; register the original file again")
    except OSError as error:
        raise DatasetUnavailable(
            f"the data set '{registered.name}' cannot be fetched from the store at {registered.store_key} ({error})",
            "Check the store, or register the file again",
        ) from error
    _require_sha256(path, registered, f"The local copy changed; delete {path} to have it fetched again")
    return path


def _fetch_beside(store_key: str | None, target: Path, storage: FileSource) -> None:
    if store_key is not None and not target.exists():
        with replacing(target) as scratch:
            storage.get_file(store_key, scratch)


def _require_sha256(path: Path, registered: Registered, remedy: str) -> None:
    require_digest(path, algorithm="sha256", expected=registered.sha256, remedy=remedy)
