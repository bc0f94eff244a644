"""DICOM files: photographs are judged as their pixels are, other images refused, and no patient is named anywhere."""

import copy
import io
import logging
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import text
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from service.app import create_app
from service.predictions.engine import images
from service.predictions.engine.images import ImageRefused, ImageUnknown, TooManyPixels, prepare
from tests.service.predictions.test_batch import zipped

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
MAX_PIXELS = 1_000_000
MakeModel = Callable[..., str]


def dataset(name: str = "SC_rgb_small_odd.dcm") -> Any:
    return copy.deepcopy(pydicom.dcmread(FILES / name))


def written(found: Any) -> bytes:
    buffer = io.BytesIO()
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def photograph(pixels: Any, photometric: str = "RGB", syntax: str = "1.2.840.10008.1.2.1", **changed: Any) -> bytes:
    """A file with `pixels` (H, W) or (H, W, 3), or with these bytes."""
    found = dataset()
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.7"
    found.file_meta.TransferSyntaxUID = syntax
    found.PhotometricInterpretation = photometric
    if isinstance(pixels, np.ndarray):
        found.Rows, found.Columns = pixels.shape[:2]
        found.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
        found.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    for name, value in changed.items():
        setattr(found, name, value)
    return written(found)


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def square(content: bytes, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return prepare(content, size, MAX_PIXELS).pixels


@pytest.mark.filterwarnings("ignore:Expected explicit VR")  # one of them is written so
@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_small_odd.dcm",
        "SC_rgb_small_odd_jpeg.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jpeg_dcmd.dcm",
        "SC_rgb_jpeg.dcm",
        "SC_rgb_jpeg_app14_dcmd.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_jpeg_no_color_transform.dcm",
        "SC_jpeg_no_color_transform_2.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+n2.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
    ],
)
def test_pixels_are_those_that_pydicom_decodes(name: str) -> None:
    found = dataset(name)
    expected = pydicom.pixels.pixel_array(found)
    pixels = square((FILES / name).read_bytes(), found.Rows)
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= 2


def test_colour_spaces_become_rgb() -> None:
    pixels = noise(40, 40, 3)
    ybr = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)).reshape(40, 40, 3)
    assert (square(photograph(pixels), 40) == pixels).all()
    assert (square(photograph(planes, PlanarConfiguration=1), 40) == pixels).all()
    assert np.abs(square(photograph(ybr, "YBR_FULL"), 40).astype(int) - pixels).max() <= 4
    assert (square(photograph(pixels, syntax="1.2.840.10008.1.2"), 40) == pixels).all()


def test_both_monochrome_forms_are_decoded_with_a_warning() -> None:
    gray = noise(40, 40)
    for photometric, expected in (("MONOCHROME2", gray), ("MONOCHROME1", 255 - gray)):
        prepared = prepare(photograph(gray, photometric), 40, MAX_PIXELS)
        assert (prepared.pixels == expected[..., np.newaxis]).all()
        assert [warned.code for warned in prepared.warnings] == ["grayscale"]
    found = pydicom.dcmread(io.BytesIO(photograph(gray, "MONOCHROME1")))
    found.compress(pydicom.uid.RLELossless)
    assert (square(written(found), 40) == 255 - gray[..., np.newaxis]).all()


def test_palette_is_applied() -> None:
    found = dataset("examples_palette.dcm")
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    expected = pydicom.pixels.apply_color_lut(pydicom.pixels.pixel_array(found), found)
    middle = (found.Columns - found.Rows) // 2
    expected = (expected[:, middle : middle + found.Rows] >> 8).astype(np.uint8)
    assert (square(written(found), found.Rows) == expected).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CT_small.dcm", "CT Image Storage"),
        ("SC_rgb_rle_2frame.dcm", "2 frames"),
        ("SC_rgb_rle_16bit.dcm", "16 bits"),
        ("JPGExtended.dcm", "12 bits"),
        ("SC_rgb_jpeg_gdcm.dcm", "JPEG Lossless.*gdcmconv"),
        ("SC_rgb_jls_lossy_line.dcm", "JPEG-LS.*gdcmconv"),
        ("SC_rgb_small_odd_big_endian.dcm", "Explicit VR Big Endian.*gdcmconv"),
        ("image_dfl.dcm", "Deflated.*gdcmconv"),
        ("SC_ybr_full_422_uncompressed.dcm", "YBR_FULL_422.*RGB"),
        ("rtplan.dcm", "RT Plan Storage"),
    ],
)
def test_other_images_are_refused_with_the_reason(name: str, message: str) -> None:
    with pytest.raises(ImageRefused, match=message):
        square((FILES / name).read_bytes(), 28)


def test_dicom_without_the_extra_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "DICOM_READER", "service.predictions.engine.not_there")
    with pytest.raises(ImageUnknown, match=r"pip install 'dermatriage\[dicom\]'"):
        square(photograph(noise(28, 28, 3)), 28)


@contextmanager
def little_memory(content: bytes) -> Iterator[None]:
    square(photograph(noise(28, 28, 3)), 28)  # what is imported once
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20 + 2 * len(content)
    finally:
        tracemalloc.stop()


def nested(levels: int) -> bytes:
    """Sequences of undefined length within each other, none of which ends."""
    return b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * levels


def encapsulated(frame: bytes, syntax: str, size: tuple[int, int], **changed: Any) -> bytes:
    found = pydicom.dcmread(io.BytesIO(photograph(noise(28, 28, 3), **changed)))
    found.file_meta.TransferSyntaxUID = syntax
    found.Columns, found.Rows = size
    found.PixelData = pydicom.encaps.encapsulate([frame])
    found["PixelData"].is_undefined_length = True
    return written(found)


def run_lengths(number: int, size: tuple[int, int]) -> bytes:
    """Three segments, each of so many runs of 128 bytes."""
    segment = b"\x81\xff" * number
    header = np.array([3, *(64 + each * len(segment) for each in range(3)), *[0] * 12], "<u4").tobytes()
    return encapsulated(header + 3 * segment, "1.2.840.10008.1.2.5", size)


@cache
def hostile() -> dict[str, tuple[bytes, type[ImageRefused]]]:
    plain = photograph(noise(28, 28, 3))
    head = plain[: plain.index(b"\x08\x00\x16\x00")]
    jpeg = io.BytesIO()
    Image.new("RGB", (900, 900)).save(jpeg, "JPEG")
    return {
        "truncated pixels": (plain[:-100], ImageRefused),
        "truncated head": (plain[:700], ImageRefused),
        "nothing but the preamble": (plain[:132], ImageRefused),
        "huge size": (photograph(b"", Rows=65535, Columns=65535), ImageRefused),
        "huge size of little data": (photograph(b"", Rows=900, Columns=900), ImageRefused),
        "no rows": (photograph(b"", Rows=0), ImageRefused),
        "many frames": (photograph(b"", NumberOfFrames="2147483647"), ImageRefused),
        "empty items": (head + nested(1)[:12] + b"\xfe\xff\x00\xe0\0\0\0\0" * 200_000, ImageRefused),
        "deep sequences": (head + nested(9000), ImageRefused),
        "many elements": (head + b"\x08\x00\x18\x00UI\0\0" * 100_000, ImageRefused),
        "many run lengths": (run_lengths(200_000, (60_000, 60_000)), TooManyPixels),
        "few run lengths": (run_lengths(2, (28, 28)), ImageRefused),
        "larger frame": (encapsulated(jpeg.getvalue(), "1.2.840.10008.1.2.4.50", (28, 28)), ImageRefused),
        "no frame": (encapsulated(b"\0\0", "1.2.840.10008.1.2.4.50", (28, 28)), ImageRefused),
        "deflated": (
            head.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99".ljust(22, b"\0")),
            ImageRefused,
        ),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about the files made here
@pytest.mark.parametrize("attack", hostile())
def test_hostile_file_is_refused_within_little_memory(attack: str) -> None:
    content, refusal = hostile()[attack]
    with little_memory(content), pytest.raises(refusal):
        square(content, 28)


def test_runs_beyond_the_image_are_not_unpacked() -> None:
    content = run_lengths(1_000_000, (28, 28))
    with little_memory(content):
        assert (square(content, 28) == 255).all()


def test_file_that_is_a_tiff_too_is_read_as_dicom() -> None:
    content = photograph(noise(28, 28, 3))
    assert prepare(b"II*\0" + content[4:], 28, MAX_PIXELS).may_name_patient


@pytest.mark.filterwarnings("ignore:Invalid value")  # the date, which pydicom would quote in a warning and the log
@pytest.mark.parametrize("store_images", [False, True])
def test_nothing_of_the_patient_is_kept(
    store_images: bool,
    settings: Settings,
    database: Database,
    storage: Storage,
    make_model: MakeModel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    make_model(promote=True)
    patient = {"PatientName": "Searchable^Person", "PatientID": "SEARCH-4711", "PatientBirthDate": "20991332"}
    pixels = np.full((28, 28, 3), (200, 100, 200), np.uint8)
    content = photograph(pixels, **patient)
    caplog.clear()
    plain = io.BytesIO()
    Image.fromarray(pixels).save(plain, "PNG")
    keeping = settings.model_copy(update={"store_images": store_images})
    with TestClient(create_app(keeping, database=database, storage=storage)) as client:
        as_file = client.post("/predict", files={"file": ("a.dcm", content)})
        as_body = client.post("/predict", content=content, headers={"Content-Type": "application/dicom"})
        refused = client.post("/predict", files={"file": ("a.dcm", content[:-100])})
        lines = client.post("/v1/predict/batch", files=[("files", ("a.zip", zipped({"a.dcm": content})))])
        expected = client.post("/predict", files={"file": ("a.png", plain.getvalue())}).json()
    assert (as_file.status_code, as_body.status_code, refused.status_code) == (200, 200, 422)
    assert as_file.json()["probability_malignant"] == expected["probability_malignant"]
    with database.read() as session:
        recorded = session.execute(text("SELECT * FROM predictions")).all()
    assert len(recorded) == 4
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(plain.getvalue() == each for each in kept) == store_images
    outputs = (
        as_file.text
        + as_body.text
        + refused.text
        + lines.text
        + str(recorded)
        + caplog.text
        + "".join(capfd.readouterr())
    )
    for word in ("Searchable", "SEARCH-4711", "20991332"):
        assert word not in outputs
        assert not any(word.encode() in each for each in kept)


def test_openapi_names_the_media_type(app: FastAPI) -> None:
    assert "application/dicom" in app.openapi()["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
