"""Image files of every kind, each against what another reader says, or refused by name."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trigan.datasets.sources.decode import decode
from trigan.errors import DataError

RNG = np.random.default_rng(0)
HIGH, WIDE = 12, 10
GREY = RNG.integers(0, 256, (HIGH, WIDE), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (HIGH, WIDE, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (HIGH, WIDE), dtype=np.uint8)
WIDER = RNG.integers(0, 65536, (HIGH, WIDE), dtype=np.uint16)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Porter and Duff's "over" on white."""
    share = alpha[..., None] / 255
    return np.rint(np.atleast_3d(colour) * share + 255 * (1 - share))


def tiff(array: np.ndarray, photometric: int, bits: int, sample_format: int = 1, little: bool = True) -> bytes:
    """A minimal TIFF 6.0 file of one strip."""
    order = "<" if little else ">"
    high, wide = array.shape[:2]
    samples = array.shape[2] if array.ndim == 3 else 1
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    entries = [(256, wide), (257, high), (258, bits), (259, 1), (262, photometric), (273, 8), (277, samples)]
    entries += [(278, high), (279, len(data)), (339, sample_format)]
    if samples == 3:
        entries[2] = (258, None)  # three values: behind the entries
    table = 8 + len(data)
    behind = table + 2 + 12 * len(entries) + 4
    body = struct.pack(order + "H", len(entries))
    for tag, value in entries:
        if value is None:
            body += struct.pack(order + "HHII", tag, 3, 3, behind)
        elif tag in (273, 279):
            body += struct.pack(order + "HHII", tag, 4, 1, value)
        else:
            body += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
    body += struct.pack(order + "I", 0) + (struct.pack(order + "3H", bits, bits, bits) if samples == 3 else b"")
    magic = b"II*\0" if little else b"MM\0*"
    return magic + struct.pack(order + "I", table) + data + body


def palette(alpha: bool) -> tuple[bytes, np.ndarray]:
    image = Image.fromarray(COLOUR).quantize(8)
    shown = np.asarray(image.convert("RGB"))
    if not alpha:
        return saved(image, "png"), shown
    opacity = bytes(range(0, 256, 32))
    return saved(image, "png", transparency=opacity), over_white(shown, np.array(list(opacity))[np.asarray(image)])


def orientation(array: np.ndarray, value: int) -> np.ndarray:
    """EXIF 2.32, tag 274: what lies in the first row and column."""
    turned = {1: array, 2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1]}
    turned |= {5: array.swapaxes(0, 1), 6: np.rot90(array, -1), 7: array[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(array)}
    return turned[value]


def cmyk() -> tuple[Image.Image, np.ndarray]:
    ink = RNG.integers(0, 256, (HIGH, WIDE, 4)).astype(np.float64)
    light = np.rint((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255)
    return Image.fromarray(ink.astype(np.uint8), "CMYK"), light


VARIANTS: dict[str, tuple[bytes, np.ndarray, float]] = {}
for _kind in ("png", "bmp", "tiff", "gif", "tga", "ppm", "jpeg2000"):
    _exact = Image.fromarray(GREY)
    VARIANTS[f"grey {_kind}"] = saved(_exact, _kind), GREY, 0
for _kind, _options in (("png", {}), ("bmp", {}), ("tiff", {}), ("tga", {}), ("ppm", {}), ("webp", {"lossless": True})):
    VARIANTS[f"colour {_kind}"] = saved(Image.fromarray(COLOUR), _kind, **_options), COLOUR, 0
for _compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
    VARIANTS[f"tiff {_compression}"] = saved(Image.fromarray(COLOUR), "tiff", compression=_compression), COLOUR, 0
for _value in range(1, 9):
    _exif = Image.Exif()
    _exif[0x0112] = _value
    for _kind in ("png", "tiff", "webp"):
        _data = saved(Image.fromarray(COLOUR), _kind, exif=_exif, **({"lossless": True} if _kind == "webp" else {}))
        VARIANTS[f"orientation {_value} {_kind}"] = _data, orientation(COLOUR, _value), 0
    VARIANTS[f"orientation {_value} 16 bits"] = (
        saved(Image.fromarray(WIDER), "png", exif=_exif),
        np.rint(orientation(WIDER, _value) / 257),
        0,
    )
for _little in (True, False):
    _end = "little" if _little else "big"
    for _white in (0, 1):
        _seen = (lambda a: a) if _white else (lambda a: 255 - a)
        VARIANTS[f"tiff 8 bits photometric {_white} {_end}"] = tiff(GREY, _white, 8, little=_little), _seen(GREY), 0
        if _little or _white:
            VARIANTS[f"tiff 16 bits photometric {_white} {_end}"] = (
                tiff(WIDER, _white, 16, little=_little),
                _seen(np.rint(WIDER / 257)),
                0,
            )
    _wide_colour = RNG.integers(0, 65536, (HIGH, WIDE, 3), dtype=np.uint16)
    VARIANTS[f"tiff 16 bits colour {_end}"] = tiff(_wide_colour, 2, 16, little=_little), _wide_colour / 257, 1
VARIANTS["png 16 bits"] = saved(Image.fromarray(WIDER), "png"), np.rint(WIDER / 257), 0
VARIANTS["pgm 16 bits"] = f"P5 {WIDE} {HIGH} 65535\n".encode() + WIDER.astype(">u2").tobytes(), np.rint(WIDER / 257), 0
VARIANTS["pgm of 16 values"] = f"P5 {WIDE} {HIGH} 15\n".encode() + (GREY // 16).tobytes(), np.rint(GREY // 16 * 17.0), 0
VARIANTS["palette"] = *palette(False), 0
VARIANTS["palette with alpha"] = *palette(True), 1
VARIANTS["alpha png"] = saved(Image.fromarray(np.dstack([COLOUR, ALPHA])), "png"), over_white(COLOUR, ALPHA), 1
VARIANTS["alpha tiff"] = saved(Image.fromarray(np.dstack([COLOUR, ALPHA])), "tiff"), over_white(COLOUR, ALPHA), 1
VARIANTS["grey with alpha"] = (
    saved(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), "png"),
    over_white(GREY, ALPHA),
    1,
)
VARIANTS["a transparent grey"] = (
    saved(Image.fromarray(GREY), "png", transparency=int(GREY[0, 0])),
    np.where(GREY[0, 0] == GREY, 255, GREY),
    0,
)
VARIANTS["a transparent grey of 16 bits"] = (
    saved(Image.fromarray(WIDER), "png", transparency=int(WIDER[0, 0])),
    np.where(WIDER[0, 0] == WIDER, 255, np.rint(WIDER / 257)),
    0,
)
VARIANTS["a transparent colour"] = (
    saved(Image.fromarray(COLOUR), "png", transparency=tuple(COLOUR[0, 0].tolist())),
    np.where((COLOUR[0, 0] == COLOUR).all(2, keepdims=True), 255, COLOUR),
    0,
)
VARIANTS["one bit"] = saved(Image.fromarray(GREY).convert("1", dither=0), "png"), np.where(GREY > 127, 255, 0), 0
VARIANTS["one bit tiff, white is 0"] = (
    saved(Image.fromarray(GREY).convert("1", dither=0), "tiff", tiffinfo={262: 0}),
    np.where(GREY > 127, 255, 0),
    0,
)
_ink, _light = cmyk()
VARIANTS["cmyk tiff"] = saved(_ink, "tiff"), _light, 1
_flat = Image.new("CMYK", (WIDE, HIGH), (200, 30, 90, 20))
VARIANTS["cmyk jpeg"] = (
    saved(_flat, "jpeg", quality=100),
    np.broadcast_to(np.array([55 * 235 / 255, 225 * 235 / 255, 165 * 235 / 255]), (HIGH, WIDE, 3)),
    3,
)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_what_its_reference_says(name: str, tmp_path: Path) -> None:
    data, expected, tolerance = VARIANTS[name]
    expected = np.atleast_3d(expected).astype(np.float64)
    (tmp_path / "x.tif").write_bytes(data)
    for source in (data, tmp_path / "x.tif"):
        pixels = decode(source, "x").astype(np.float64)
        if pixels.shape[2] != expected.shape[2]:
            assert (pixels == pixels[..., :1]).all()
            pixels = pixels[..., :1]
        assert pixels.shape == expected.shape
        assert np.abs(pixels - expected).max() <= tolerance


def test_there_are_enough_variants() -> None:
    assert len(VARIANTS) >= 60


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "float": (lambda: saved(Image.fromarray(GREY.astype(np.float32)), "tiff"), "set data.window"),
    "signed 8 bits": (lambda: tiff(GREY.view(np.int8), 1, 8, 2), "signed 8-bit"),
    "negative": (lambda: tiff(WIDER.view(np.int16), 1, 16, 2), r"outside 0..65535; set data.window"),
    "32 bits": (lambda: tiff(WIDER.astype(np.uint32) * 1000, 1, 32), r"outside 0..65535; set data.window"),
    "CMYK without a marker": (lambda: saved(cmyk()[0], "jpeg").replace(b"Adobe", b"Adobo"), "may be inverted"),
    "LAB": (lambda: saved(Image.fromarray(COLOUR, "LAB"), "tiff"), "CIELAB"),
    "16-bit key": (
        lambda: _wide_png_with_key(),
        "16-bit colour with a window or a transparent colour",
    ),
}


def _wide_png_with_key() -> bytes:
    """PNG 1.2: 16-bit truecolour with a tRNS chunk."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + RNG.integers(0, 65536, 3 * WIDE).astype(">u2").tobytes() for _ in range(HIGH))
    header = struct.pack(">IIBBBBB", WIDE, HIGH, 16, 2, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(">3H", 300, 2, 3)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_agreed_meaning_is_refused_by_name(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as error:
        decode(make(), "cats/7.tif")
    assert str(error.value).startswith("cats/7.tif")
    assert "\n" not in str(error.value)


def test_a_window_makes_black_and_white() -> None:
    values = np.linspace(-1000, 3000, HIGH * WIDE, dtype=np.float32).reshape(HIGH, WIDE)
    expected = np.rint((values.astype(np.float64) + 200) / 600 * 255).clip(0, 255)
    for data in (saved(Image.fromarray(values), "tiff"), values, tiff(values.astype(np.int16), 1, 16, 2)):
        assert np.abs(decode(data, "x", (-200, 400))[..., 0] - expected).max() <= 1
    assert np.array_equal(decode(saved(Image.fromarray(GREY), "png"), "x", (0, 100))[..., 0], GREY)  # has 8 bits
    with pytest.raises(DataError, match="not finite"):
        decode(np.where(values > 0, np.nan, values), "x", (0, 1))


def test_too_large_an_image_says_what_helps(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match=r"too large to be decoded safely .*; make it smaller beforehand"):
        decode(saved(Image.fromarray(GREY), "png"), "x")


@pytest.mark.parametrize("kind", ["gif", "tiff", "webp", "png"])
def test_further_frames_are_told(kind: str) -> None:
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    told: list[str] = []
    decode(saved(frames[0], kind, save_all=True, append_images=frames[1:]), "x", None, told)
    assert told == ["of several frames or pages only the first is read"]
    told.clear()
    decode(saved(frames[0], kind), "x", None, told)
    assert told == []


@pytest.mark.parametrize("dtype", ["u1", "u2", "<u2", ">u2"])
@pytest.mark.parametrize("shape", [(HIGH, WIDE), (HIGH, WIDE, 3)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tifffile_agrees(dtype: str, shape: tuple[int, ...], compression: str | None, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    array = RNG.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", array, compression=compression)
    read = tifffile.imread(tmp_path / "x.tif") / (1 if array.dtype.itemsize == 1 else 257)
    assert np.abs(decode(tmp_path / "x.tif", "x") - np.atleast_3d(read)).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("bits", "window"), [(8, None), (12, None), (16, None), (12, (100.0, 900.0))])
@pytest.mark.parametrize("centre", [None, 500])
def test_dicom_is_windowed_and_white_is_white(
    photometric: str, bits: int, window: tuple[float, float] | None, centre: int | None, tmp_path: Path
) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    stored = RNG.integers(0, 2**bits, (HIGH, WIDE)).astype(np.uint16 if bits > 8 else np.uint8)
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = HIGH, WIDE, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = photometric, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = stored.dtype.itemsize * 8, bits, bits - 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -100
    if centre is not None:
        dataset.WindowCenter, dataset.WindowWidth = centre, 400
    dataset.PixelData = stored.tobytes()
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    values = stored * 2.0 - 100
    low, high = window or ((centre - 200, centre + 199) if centre is not None else (-100, (2**bits - 1) * 2 - 100))
    expected = ((values - low) / (high - low) * 255).clip(0, 255)
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    assert np.abs(decode(tmp_path / "x.dcm", "x", window)[..., 0] - expected).max() <= 1


def test_dicom_without_pydicom_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "x.dcm").write_bytes(b"\0" * 128 + b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"x: DICOM images need pydicom: pip install 'trigan\[dicom\]'"):
        decode(tmp_path / "x.dcm", "x")
