"""`clnf_torch.geometry.frames`: every form that callers have frames in, and those that may be meant in two ways."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from clnf_torch.geometry.frames import as_frames, as_tensor, warn_of_unit_range
from clnf_torch.geometry.gray import to_gray

RGB = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
GRAY = RGB[:, 0]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (RGB, RGB),
        (GRAY, GRAY[:, None]),
        (GRAY[:, None], GRAY[:, None]),
        (RGB[:0], RGB[:0]),
        (RGB.numpy(), RGB),
        (GRAY.numpy(), GRAY[:, None]),
        (RGB.numpy()[:, ::-1], RGB.flip(1)),
        (np.ascontiguousarray(RGB.numpy().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), RGB),
        (RGB.numpy().astype(">f4"), RGB.float()),
        (RGB.numpy().astype(np.float16), RGB.half()),
        (list(RGB), RGB),
        (list(RGB.numpy()), RGB),
        (tuple(GRAY), GRAY[:, None]),
        ([GRAY[0], RGB[1, :1]], torch.stack([GRAY[0], RGB[1, 0]])[:, None]),
    ],
)
def test_forms(frames, expected):
    found = as_frames(frames)
    assert found.dtype == expected.dtype and torch.equal(found, expected)


def test_read_only_arrays_are_taken_without_a_warning():
    array = RGB.numpy().copy()
    array.flags.writeable = False
    assert torch.equal(as_frames(array), RGB)


class Picture:
    """An image with the interface of Pillow's."""

    mode, width, height = "RGBA", 5, 4

    def __init__(self, pixels: torch.Tensor, mode: str) -> None:
        self.pixels, self.mode = pixels, mode

    def convert(self, mode: str) -> Picture:
        return Picture(self.pixels, mode)

    def getbands(self) -> tuple[str, ...]:
        return tuple(self.mode)

    def tobytes(self) -> bytes:
        return self.pixels.permute(1, 2, 0).contiguous().numpy().tobytes()


def test_pillows_images_are_rows_of_channels():
    assert torch.equal(as_frames([Picture(RGB[0], "RGBA"), Picture(RGB[1], "CMYK")]), RGB)
    assert torch.equal(as_frames([Picture(RGB[0, :1], "L")]), RGB[:1, :1])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (RGB[0], r"shape \(3, 4, 5\): one RGB image, or gray ones\? Give frames\[None\]"),
        (
            RGB[0].permute(1, 2, 0),
            r"Give frames.permute\(2, 0, 1\)\[None\] for one RGB image",
        ),
        (RGB.permute(0, 2, 3, 1), r"expected gray .* RGB \(F, 3, H, W\); give frames.permute\(0, 3, 1, 2\)"),
        (torch.zeros(2, 4, 5, 4), r"give frames\[..., :3\].permute\(0, 3, 1, 2\), without the alpha channel"),
        (torch.zeros(2, 4, 5, 6), r"give frames\[:, :3\], without the alpha channel"),
        (GRAY[0], r"shape \(4, 5\); .*give frames\[None\]"),
        (torch.zeros(2, 2, 4, 5), "expected gray"),
        (torch.zeros(()), "expected gray"),
        (RGB.int(), "frames are torch.int32; give uint8"),
        (RGB.numpy().astype(np.uint16), "frames are torch.uint16"),
        (RGB.bool(), "frames are torch.bool"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.complex64), "frames are torch.complex64"),
        ([], "list of frames is empty"),
        ([GRAY[0], GRAY[0, 1:]], r"shape and type \(\(1, 3, 5\), 'uint8'\) and \(\(1, 4, 5\), 'uint8'\)"),
        ([GRAY[0], GRAY[0].float()], "give each kind in a call of its own"),
        ([GRAY[0], GRAY[0].to("meta")], "images on cpu and meta; move them to one device"),
        ([RGB[0].permute(1, 2, 0)], r"permute\(2, 0, 1\) makes \(3, H, W\)"),
        ([torch.zeros(5)], r"an image in the list has shape \(5,\)"),
        (["face.jpg"], "of type str"),
        ("face.jpg", "of type str"),
        (None, "of type NoneType"),
        (np.array(["a"]), "do not make a tensor"),
        ((_ for _ in RGB), "frames are of type generator; .* give a list of it, list"),
    ],
)
def test_what_is_refused(frames, message):
    with pytest.raises(ValueError, match=message) as refused:
        as_frames(frames)
    assert len(str(refused.value)) < 300 and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "values", [[1, 2.5], (1, 2.5), np.array([1, 2.5]), torch.tensor([1, 2.5]), [np.float32(1), 2.5]]
)
def test_numbers(values):
    assert as_tensor("boxes", values).tolist() == [1, 2.5]


class Owner:
    """Somebody who warns."""


def warned(owner: Owner, frames: torch.Tensor) -> bool:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn_of_unit_range(owner, frames)
    return len(found) == 1


def test_frames_from_0_to_1_are_warned_of_once():
    owner, low = Owner(), torch.rand(2, 1, 40, 40)
    assert not warned(owner, 255 * low) and not warned(owner, (255 * low).byte())
    assert warned(owner, low) and not warned(owner, low) and warned(Owner(), low)


def test_black_and_unreadable_frames_are_nothing_to_warn_of():
    one = torch.zeros(1, 1, 40, 40)
    for frames in (one, one + torch.nan, one[:0]):
        assert not warned(Owner(), frames)
    one[0, 0, 5, 7] = 200
    assert not warned(Owner(), one)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int16, torch.bool])
@pytest.mark.parametrize("function", [as_frames, to_gray])
def test_frames_of_another_number_type_are_refused(function, dtype):
    frames = torch.zeros(1, 3, 8, 8).to(dtype)
    with pytest.raises(
        ValueError, match=rf"frames are {dtype}; give uint8, or .* float16, bfloat16, float32 or float64"
    ):
        function(frames)
