import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigan.datasets.sources.decode import decode
from trigan.datasets.sources.geometry import Geometry
from trigan.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (10, 12), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (10, 12, 3), dtype=np.uint8)


def png(image: Image.Image, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_plain_images_come_back() -> None:
    assert np.array_equal(decode(png(Image.fromarray(GREY)), "x")[..., 0], GREY)
    assert np.array_equal(decode(png(Image.fromarray(COLOUR)), "x"), COLOUR)
    assert np.array_equal(decode(COLOUR, "x"), COLOUR)


def test_sixteen_bits_become_eight() -> None:
    wide = Image.fromarray(GREY.astype(np.uint16) * 257)
    assert np.array_equal(decode(png(wide), "x")[..., 0], GREY)
    assert np.array_equal(decode(png(wide, "tiff"), "x")[..., 0], GREY)


def test_palettes_alpha_and_one_bit() -> None:
    palette = Image.fromarray(COLOUR).quantize(16)
    assert np.array_equal(decode(png(palette), "x"), np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(GREY).convert("1")
    assert set(np.unique(decode(png(bits), "x"))) == {0, 255}
    clear = np.dstack([COLOUR, np.zeros((10, 12), np.uint8)])
    assert (decode(png(Image.fromarray(clear)), "x") == 255).all()
    solid = np.dstack([COLOUR, np.full((10, 12), 255, np.uint8)])
    assert np.array_equal(decode(png(Image.fromarray(solid)), "x"), COLOUR)
    grey_alpha = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (12, 10), 255)])
    assert np.array_equal(decode(png(grey_alpha), "x")[..., 0], GREY)


def test_camera_orientation_is_followed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "png", exif=exif)
    assert np.array_equal(decode(buffer.getvalue(), "x")[..., 0], np.rot90(GREY, -1))


@pytest.mark.parametrize("data", [b"", b"not an image", png(Image.fromarray(COLOUR))[:60]])
def test_damaged_images_are_named_in_one_line(data: bytes) -> None:
    with pytest.raises(DataError, match=r"cats/7.png is not a readable image") as error:
        decode(data, "cats/7.png")
    assert "\n" not in str(error.value)


def test_missing_and_floating_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable image"):
        decode(tmp_path / "no.png", "no.png")
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match="floating-point"):
        decode(tmp_path / "f.tif", "f.tif")
    with pytest.raises(DataError, match="must be uint8"):
        decode(GREY.astype(np.float32), "x")


def test_fit_crops_the_centre_and_resizes_with_antialias() -> None:
    assert np.array_equal(Geometry(None, None).fit(COLOUR), COLOUR[:, 1:11])
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
    small = Geometry(8, None).fit(stripes)
    assert small.shape == (8, 8, 1)
    # Nearest neighbour would give 0 or 255; antialiasing gives the mean.
    assert (np.abs(small.astype(int) - 127) < 25).all()


def test_channels() -> None:
    assert np.array_equal(Geometry(None, 3).fit(GREY[..., None]), np.repeat(GREY[:, 1:11, None], 3, 2))
    square = COLOUR[:, 1:11]
    expected = np.asarray(Image.fromarray(np.ascontiguousarray(square)).convert("L"))
    assert np.array_equal(Geometry(None, 1).fit(square)[..., 0], expected)


@pytest.mark.parametrize(("size", "channels"), [(7, None), (513, None), (0, None), (None, 2), (None, 4)])
def test_impossible_geometry(size: int | None, channels: int | None) -> None:
    with pytest.raises(ConfigError, match=r"data\.(image_size|channels): "):
        Geometry(size, channels)


def test_pad_keeps_the_whole_image() -> None:
    padded = Geometry(None, None, "pad").fit(COLOUR)
    assert padded.shape == (12, 12, 3)
    assert np.array_equal(padded[1:11], COLOUR)
    assert not padded[[0, 11]].any()
    assert Geometry(512, None, "pad").fit(COLOUR).shape == (512, 512, 3)
