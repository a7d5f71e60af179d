"""Images as they are read: always upright RGB, uint8, from whatever a file holds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from clnf_torch.cli.images import ImageError, draw_landmarks, read_image, write_png
from clnf_torch.geometry.gray import to_gray


@pytest.fixture
def colours() -> np.ndarray:
    """An image of 5 x 7 pixels, BGR."""
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def written(path, pixels):
    """The path, with an image in it."""
    assert cv2.imwrite(str(path), pixels)
    return path


def rgb(pixels):
    """BGR (H, W, 3) as the tensor (3, H, W) that is expected."""
    return torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1)


def test_colours_come_as_rgb(tmp_path, colours):
    assert torch.equal(read_image(written(tmp_path / "image.png", colours)), rgb(colours))


def test_gray_stays_the_same_gray(tmp_path):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = read_image(written(tmp_path / "gray.png", gray))
    assert torch.equal(to_gray(image[None])[0], torch.from_numpy(gray))


def test_sixteen_bits_keep_the_upper_eight(tmp_path, colours):
    deep = colours.astype(np.uint16) * 256 + 77
    assert torch.equal(read_image(written(tmp_path / "deep.png", deep)), rgb(colours))


def test_transparency_is_dropped(tmp_path, colours):
    clear = np.dstack([colours, np.full(colours.shape[:2], 9, np.uint8)])
    assert torch.equal(read_image(written(tmp_path / "clear.png", clear)), rgb(colours))


def test_a_photograph_is_turned_upright(tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # left half white
    content = written(tmp_path / "flat.jpg", pixels).read_bytes()
    # The shortest EXIF block: big-endian TIFF, one entry, tag 0x0112 (orientation) = 6: "turn clockwise to see it".
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "turned.jpg").write_bytes(content[:2] + segment + content[2:])
    image = read_image(tmp_path / "turned.jpg").float().mean(0)
    assert image.shape == (32, 16)
    assert image[:14].mean() > 250
    assert image[18:].mean() < 5


def test_a_cut_image_is_an_error(tmp_path, colours):
    path = written(tmp_path / "cut.png", colours)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ImageError, match=r"cut\.png"):
        read_image(path)


def test_dots_lie_on_the_landmarks_and_strays_are_left_out(tmp_path):
    image = torch.zeros(3, 40, 50, dtype=torch.uint8)
    points = torch.tensor([[[10.0, 30.0], [40.0, 5.0], [torch.nan, 3.0], [1e30, 4.0], [-7.0, 4.0]]])
    visible = torch.tensor([[True, False, True, True, True]])
    write_png(tmp_path / "drawn.png", draw_landmarks(image, points, visible))
    drawn = cv2.imread(str(tmp_path / "drawn.png"))
    assert drawn[30, 10].argmax() == 1  # green, BGR: seen
    assert drawn[5, 40].argmax() == 2  # orange: hidden
    ys, xs = drawn.any(axis=-1).nonzero()
    assert all(min(abs(x - 10) + abs(y - 30), abs(x - 40) + abs(y - 5)) <= 30 for x, y in zip(xs, ys, strict=True))
    assert not image.any()
