"""`clnf_torch.geometry.pillow`: every mode of Pillow's images, and each EXIF orientation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clnf_torch.geometry.frames import as_frames
from clnf_torch.geometry.pillow import pillow_pixels
from tests.media.image_files import STORED

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: pip install pillow")
GRAY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
RGB = np.stack([GRAY, GRAY[::-1], 255 - GRAY], -1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "RGBa"])
def test_colours(mode):
    image = Image.fromarray(RGB).convert("RGBA").convert(mode) if mode == "RGBa" else Image.fromarray(RGB).convert(mode)
    found = pillow_pixels(image)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), RGB)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "HSV"])
def test_other_colour_spaces_are_rgb(mode):
    image = Image.fromarray(RGB).convert(mode)
    np.testing.assert_array_equal(pillow_pixels(image).permute(1, 2, 0).numpy(), np.asarray(image.convert("RGB")))


def test_gray_levels():
    for mode in ("L", "LA"):
        np.testing.assert_array_equal(pillow_pixels(Image.fromarray(GRAY).convert(mode))[0].numpy(), GRAY)
    black_and_white = pillow_pixels(Image.fromarray(GRAY).convert("1"))
    assert black_and_white.shape == (1, 4, 5) and set(black_and_white.unique().tolist()) <= {0, 255}


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I", "F"])
def test_deeper_numbers_are_as_they_are(mode):
    kind = {"I;16B": ">u2", "I": "i4", "F": "f4"}.get(mode, "<u2")
    deep = (GRAY.astype(np.uint16) << 8).astype(kind)
    found = pillow_pixels(Image.frombytes(mode, (5, 4), deep.tobytes()))
    assert found.dtype == (torch.float32 if mode == "F" else torch.int32)
    assert found[0].tolist() == deep.tolist()


def test_frames_of_more_than_eight_bits_are_refused():
    with pytest.raises(ValueError, match=r"frames are torch\.int32; give uint8, or floating point"):
        as_frames([Image.fromarray(GRAY.astype(np.uint16))])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(orientation):
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](GRAY)))
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(pillow_pixels(image)[0].numpy(), GRAY)
    np.testing.assert_array_equal(as_frames([image])[0, 0].numpy(), GRAY)


@pytest.mark.parametrize("orientation", [0, 9, "up"])
def test_an_orientation_that_is_none_turns_nothing(orientation):
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(pillow_pixels(image).permute(1, 2, 0).numpy(), RGB)


def test_an_image_without_pixels_has_none():
    assert pillow_pixels(Image.new("RGB", (0, 4))).shape == (3, 4, 0)
