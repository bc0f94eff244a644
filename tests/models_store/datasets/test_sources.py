import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models_store.datasets import sources
from models_store.datasets.errors import ChecksumMismatch, DatasetUnavailable
from models_store.datasets.layout import read_split
from models_store.datasets.official import OfficialFile, dermamnist_info, download, official_file
from models_store.datasets.sources import is_builtin, resolve
from models_store.datasets.synthetic import generate
from models_store.files import digest_of


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the official counts, in the folder that the local server serves."""
    path = tmp_path_factory.mktemp("published") / "dermamnist.npz"
    generate(path)
    return path


@pytest.fixture(scope="module")
def address(published: Path) -> Iterator[str]:
    handler = partial(QuietHandler, directory=str(published.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, published: Path, address: str, tmp_path: Path) -> OfficialFile:
    """Put the local server's address and checksum where MedMNIST publishes its own; start with an empty home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(dermamnist_info(), "url", f"{address}/dermamnist.npz")
    monkeypatch.setitem(dermamnist_info(), "MD5", digest_of(published, "md5"))
    return official_file("dermamnist")


def official(tmp_path: Path) -> Path:
    return resolve(
        "dermamnist", data_root=tmp_path / "data", cache_root=tmp_path / "cache", registered=None, storage=None
    )


def test_addresses_and_checksums_are_those_of_medmnist() -> None:
    assert official_file("dermamnist").md5 == "0744692d530f8e62ec473284d019b0c7"
    assert official_file("dermamnist_224").url.endswith("/dermamnist_224.npz?download=1")


@pytest.mark.usefixtures("publish")
def test_official_file_is_downloaded_once_to_the_data_root(tmp_path: Path, published: Path) -> None:
    path = official(tmp_path)
    first = path.stat().st_mtime_ns

    assert official(tmp_path) == path == tmp_path / "data" / "dermamnist.npz"
    assert path.stat().st_mtime_ns == first
    assert path.read_bytes() == published.read_bytes()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.usefixtures("publish")
def test_official_file_is_taken_from_the_data_root_then_from_medmnists_cache(tmp_path: Path, published: Path) -> None:
    local = tmp_path / "data" / "dermamnist.npz"
    cached = tmp_path / "home" / ".medmnist" / "dermamnist.npz"
    for path in (local, cached):
        path.parent.mkdir(parents=True)
        shutil.copyfile(published, path)

    assert official(tmp_path) == local
    local.unlink()
    assert official(tmp_path) == cached
    assert not local.exists()


@pytest.mark.usefixtures("publish")
def test_local_file_with_another_checksum_is_refused(tmp_path: Path) -> None:
    local = tmp_path / "data" / "dermamnist.npz"
    local.parent.mkdir()
    local.write_bytes(b"something else")

    with pytest.raises(ChecksumMismatch, match=r"dermamnist\.npz: expected md5 .*, found .* Delete it"):
        official(tmp_path)


def test_download_with_another_checksum_never_appears(publish: OfficialFile, tmp_path: Path) -> None:
    target = tmp_path / "dermamnist.npz"

    with pytest.raises(ChecksumMismatch, match="answered something else"):
        download(OfficialFile(publish.url, "0" * 32), target)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "md5", "cause"),
    [
        ("{address}/absent.npz", None, "HTTP Error 404"),
        ("{address}/dermamnist.npz", "0" * 32, f"expected md5 {'0' * 32}"),
        ("http://127.0.0.1:1/dermamnist.npz", None, "refused"),
    ],
)
def test_failing_everywhere_names_the_three_places_and_the_cause(
    publish: OfficialFile,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    tmp_path: Path,
    url: str,
    md5: str | None,
    cause: str,
) -> None:
    unusable = OfficialFile(url.format(address=address), md5 or publish.md5)
    monkeypatch.setattr(sources, "official_file", lambda _: unusable)

    with pytest.raises(DatasetUnavailable) as refusal:
        official(tmp_path)

    assert str(tmp_path / "data" / "dermamnist.npz") in refusal.value.finding
    assert str(tmp_path / "home" / ".medmnist" / "dermamnist.npz") in refusal.value.finding
    assert unusable.url in refusal.value.finding
    assert cause in refusal.value.finding
    assert "synthetic" in refusal.value.remedy


def test_official_file_with_other_counts_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch, generated: Path, tmp_path: Path
) -> None:
    local = tmp_path / "data" / "dermamnist.npz"
    local.parent.mkdir()
    shutil.copyfile(generated, local)
    monkeypatch.setitem(dermamnist_info(), "MD5", digest_of(generated, "md5"))

    with pytest.raises(AssertionError, match="the official labels map to"):
        official(tmp_path)


def test_synthetic_set_is_generated_once_with_its_lesions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.SYNTHETIC_SETS, "synthetic_64", (64, (8, 3, 4)))

    def synthetic() -> Path:
        return resolve("synthetic_64", data_root=tmp_path, cache_root=tmp_path, registered=None, storage=None)

    path = synthetic()
    first = path.stat().st_mtime_ns

    assert read_split(path, "train").images.shape == (8, 64, 64, 3)
    assert read_split(path, "train").lesion_ids is not None
    assert synthetic().stat().st_mtime_ns == first
    assert sorted(file.name for file in path.parent.iterdir()) == ["synthetic_64.npz", "synthetic_64_lesions.csv"]


@pytest.mark.parametrize(
    ("name", "builtin"),
    [("dermamnist", True), ("dermamnist_128", True), ("synthetic", True), ("synthetic_64", True), ("clinic", False)],
)
def test_builtin_names_are_known_without_a_file(name: str, builtin: bool) -> None:
    assert is_builtin(name) is builtin
