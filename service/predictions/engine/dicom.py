"""One DICOM image, as Pillow decodes it. Needs pydicom, which the extra `dicom` installs.

pydicom reads only the elements that describe the pixels: no element that describes a patient is parsed, so none can
reach an answer, a log or the record. Pillow decodes the pixels within the limits of every upload; pydicom's own
decoders need ten times the memory of the image, and unpack a run-length coded file to any size that it claims.
"""

import io
import struct
from typing import Any

from PIL import Image, ImageFile, ImagePalette, UnidentifiedImageError
from pydicom import config, uid
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset

from service.predictions.engine.image_files import Damaged, decoding_bytes
from service.predictions.engine.images import PREAMBLE_BYTES, ImageRefused

config.settings.reading_validation_mode = config.IGNORE  # its warnings quote values

STORED = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian)
JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
DECODED = (*STORED, uid.RLELossless, *JPEG, *JPEG_2000)
SOP_CLASSES = (
    uid.VLPhotographicImageStorage,
    uid.DermoscopicPhotographyImageStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
)
MAX_READS = 20_000  # of elements, items and fragments; a photograph has a few hundred
JPEG_2000_PIXEL_BYTES = 20  # measured: 17
PIXEL_BYTES = 8  # Pillow's image beside its planes

TRANSFER_SYNTAX, PIXELS = 0x00020010, 0x7FE00010
SOP_CLASS, PHOTOMETRIC, FRAMES, ROWS, COLUMNS = 0x00080016, 0x00280004, 0x00280008, 0x00280010, 0x00280011
SAMPLES, PLANAR, ALLOCATED, BITS, SIGNED = 0x00280002, 0x00280006, 0x00280100, 0x00280101, 0x00280103
PALETTE_SIZES, PALETTES = (0x00281101, 0x00281102, 0x00281103), (0x00281201, 0x00281202, 0x00281203)
READ = [SOP_CLASS, PHOTOMETRIC, FRAMES, ROWS, COLUMNS, SAMPLES, PLANAR, ALLOCATED, BITS, SIGNED, PIXELS]
READ += [*PALETTE_SIZES, *PALETTES]

# Colour spaces: samples a pixel, and Pillow's mode of pixels that are stored as they are.
MODES = {
    "MONOCHROME1": (1, "L"),
    "MONOCHROME2": (1, "L"),
    "PALETTE COLOR": (1, "P"),
    "RGB": (3, "RGB"),
    "YBR_FULL": (3, "YCbCr"),
}
# How the samples of a JPEG become pixels: Pillow's raw mode, and the colour space if no marker names it.
JPEG_MODES = {
    "MONOCHROME1": ("L;I", ""),
    "MONOCHROME2": ("L", ""),
    "RGB": ("RGB", "RGB"),
    "YBR_FULL": ("RGB", "YCbCr"),
    "YBR_FULL_422": ("RGB", "YCbCr"),
}
JPEG_2000_MODES = {"MONOCHROME2": "L", "RGB": "RGB", "YBR_RCT": "RGB", "YBR_ICT": "RGB"}


class BoundedReader(io.BytesIO):
    """Bounds how many pieces are read, because pydicom makes an object of each."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ImageRefused(f"the DICOM file has more than {MAX_READS:,} elements")
        return super().read(size)


class Pixels(Image.Image):
    """Pixels that are decoded when they are needed: one plane per sample, or all samples interleaved."""

    format = "DICOM"

    def __init__(self, mode: str, size: tuple[int, int], parts: list[bytes], coding: str, raw_mode: str) -> None:
        super().__init__()
        self._mode, self._size = mode, size
        self._parts, self._coding, self._raw_mode = parts, coding, raw_mode

    def load(self) -> Any:
        if self._im is None:
            whole = self.mode if len(self._parts) == 1 else "L"
            planes = [Image.frombytes(whole, self.size, part, self._coding, self._raw_mode) for part in self._parts]
            self.im = (planes[0] if len(planes) == 1 else Image.merge(self.mode, planes)).im
        return super().load()


def opened(content: bytes) -> tuple[Image.Image, int]:
    """The image, of which nothing is decoded yet, and the bytes of memory that decoding takes.

    Raises `ImageRefused`, or what pydicom and Pillow raise for a damaged file.
    """
    stream = BoundedReader(content)
    stream.seek(PREAMBLE_BYTES)
    about_file = read_dataset(stream, False, True, stop_when=_is_no_file_element, specific_tags=[TRANSFER_SYNTAX])
    syntax = _text(about_file, TRANSFER_SYNTAX)
    if syntax not in DECODED:
        raise ImageRefused(
            f"the DICOM file has the transfer syntax {_named(syntax)}, which is not decoded here; convert it to "
            "Explicit VR Little Endian, for example with `gdcmconv --raw`, or DCMTK's `dcmconv`, `dcmdjpeg`, `dcmdjpls`"
        )
    is_implicit = syntax == uid.ImplicitVRLittleEndian
    found = read_dataset(stream, is_implicit, True, stop_when=_is_after_pixels, specific_tags=READ)
    _refuse_other_than_photograph(found)
    colours = _text(found, PHOTOMETRIC)
    size = (_number(found, COLUMNS), _number(found, ROWS))
    data = _raw(found, PIXELS)
    if syntax in STORED:
        return _stored(found, colours, size, data)
    frame = get_frame(BoundedReader(data), 0, number_of_frames=1)
    if syntax == uid.RLELossless:
        return _run_length_coded(found, colours, size, frame)
    image, needed = _jpeg(colours, frame) if syntax in JPEG else _jpeg_2000(colours, frame)
    if image.size != size:
        raise Damaged("its frame is not of the size that the DICOM file states")
    return image, needed


def _refuse_other_than_photograph(found: Any) -> None:
    sop_class = _text(found, SOP_CLASS)
    if sop_class not in SOP_CLASSES:
        raise ImageRefused(
            f"the DICOM file is of the class {_named(sop_class)}; this model judges photographs of skin: VL "
            "Photographic, Dermoscopic Photography and Secondary Capture Image Storage"
        )
    frames = int(_text(found, FRAMES) or 1)
    if frames != 1:
        raise ImageRefused(f"the DICOM file holds {frames} frames; send the one that shows the lesion as its own file")
    bits = _number(found, BITS)
    if _number(found, ALLOCATED) != 8 or bits != 8 or _number(found, SIGNED):
        raise ImageRefused(f"the DICOM image has {bits} bits per channel; convert it to 8 bits, unsigned")


def _stored(found: Any, colours: str, size: tuple[int, int], data: bytes) -> tuple[Image.Image, int]:
    samples, mode = _mode(colours, MODES, found)
    plane = size[0] * size[1]
    if len(data) - len(data) % 2 < samples * plane - samples * plane % 2:
        raise Damaged("its pixel data ends early")
    if samples == 1 or not _number(found, PLANAR, default=0):
        parts = [data[: samples * plane]]
    else:
        parts = [data[at : at + plane] for at in range(0, samples * plane, plane)]
    return _pixels(found, colours, mode, size, parts, "raw")


def _run_length_coded(found: Any, colours: str, size: tuple[int, int], frame: bytes) -> tuple[Image.Image, int]:
    samples, mode = _mode(colours, MODES, found)
    number, *offsets = struct.unpack_from("<16L", frame)
    if number != samples:
        raise Damaged("it does not have one run-length coded segment per sample")
    ends = [*offsets[1:samples], len(frame)]
    parts = [frame[start:end] for start, end in zip(offsets, ends, strict=False)]
    return _pixels(found, colours, mode, size, parts, "packbits")


def _pixels(
    found: Any, colours: str, mode: str, size: tuple[int, int], parts: list[bytes], coding: str
) -> tuple[Image.Image, int]:
    whole = mode if len(parts) == 1 else "L"
    image = Pixels(mode, size, parts, coding, "L;I" if colours == "MONOCHROME1" else whole)
    if mode == "P":
        image.palette = ImagePalette.raw("RGB", _palette(found))
    return image, sum(map(len, parts)) + PIXEL_BYTES * size[0] * size[1]


def _palette(found: Any) -> bytes:
    """256 colours, RGB."""
    tables = []
    for size_tag, tag in zip(PALETTE_SIZES, PALETTES, strict=True):
        entries, first, bits = struct.unpack("<3H", _raw(found, size_tag))
        entries, data = entries or 2**16, _raw(found, tag)
        if bits == 8 and len(data) < 2 * entries:
            values = data
        else:
            words = struct.unpack_from(f"<{entries}H", data)
            values = bytes(word >> 8 if bits == 16 else word & 255 for word in words)
        tables.append([values[min(max(index - first, 0), entries - 1)] for index in range(256)])
    return bytes(value for colour in zip(*tables, strict=True) for value in colour)


def _jpeg(colours: str, frame: bytes) -> tuple[Image.Image, int]:
    modes = _mode(colours, JPEG_MODES)
    image = _encoded(frame, "JPEG", "L" if modes[0].startswith("L") else "RGB")
    if "adobe_transform" not in image.info:
        image.tile = [tile._replace(args=modes) for tile in image.tile]
    return image, decoding_bytes(image, frame)


def _jpeg_2000(colours: str, frame: bytes) -> tuple[Image.Image, int]:
    mode = _mode(colours, JPEG_2000_MODES)
    image = _encoded(frame, "JPEG2000", mode)
    return image, 2 * len(frame) + JPEG_2000_PIXEL_BYTES * image.width * image.height


def _encoded(frame: bytes, kind: str, mode: str) -> ImageFile.ImageFile:
    try:
        image = Image.open(io.BytesIO(frame), formats=(kind,))
    except UnidentifiedImageError:
        raise Damaged("its frame does not have the coding of its transfer syntax") from None
    if image.mode != mode:
        raise Damaged("its frame has other samples than the DICOM file states")
    return image


def _mode(colours: str, modes: dict[str, Any], found: Any = None) -> Any:
    known = modes.get(colours)
    if known is None or (found is not None and _number(found, SAMPLES) != known[0]):
        raise ImageRefused(
            f"the DICOM image is in the colour space {_printable(colours)}, which is not decoded with its transfer "
            "syntax; convert it to RGB"
        )
    return known


def _is_no_file_element(tag: int, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


def _is_after_pixels(tag: int, _vr: str | None, _length: int) -> bool:
    return tag > PIXELS


def _raw(found: Any, tag: int) -> bytes:
    element = found.get_item(tag)
    if element is None or not element.value:
        raise Damaged(f"it lacks the element ({tag >> 16:04X},{tag & 0xFFFF:04X})")
    return bytes(element.value)


def _text(found: Any, tag: int) -> str:
    element = found.get_item(tag)
    return "" if element is None or not element.value else element.value.decode("ascii", "replace").strip(" \0")


def _number(found: Any, tag: int, default: int | None = None) -> int:
    if default is not None and tag not in found:
        return default
    (number,) = struct.unpack("<H", _raw(found, tag))
    return int(number)


def _named(identifier: str) -> str:
    name = uid.UID(identifier).name
    return _printable(identifier) if name == identifier else name


def _printable(text: str) -> str:
    return repr(text[:64])
