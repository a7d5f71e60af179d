"""`clnf_torch.geometry.gray`: OpenCV's integers, the unrounded sum, and what is refused."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.gray import to_grey


def test_uint8_follows_opencvs_integers(rng):
    frames = torch.randint(0, 256, (3, 3, 7, 5), generator=rng, dtype=torch.uint8)
    expected = [
        [
            [(3735 * b + 19235 * g + 9798 * r + 16384) >> 15 for r, g, b in zip(*rows, strict=True)]
            for rows in zip(*frame, strict=True)
        ]
        for frame in frames.tolist()
    ]
    grey = to_grey(frames)
    assert grey.dtype == torch.uint8
    assert grey.tolist() == expected


def test_primary_colours():
    frames = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)
    assert to_grey(frames.mT.reshape(1, 3, 1, 4)).tolist() == [[[76, 150, 29, 255]]]


def test_floats_agree_with_uint8_up_to_the_rounding(rng, dtype):
    frames = torch.randint(0, 256, (2, 3, 8, 8), generator=rng, dtype=torch.uint8)
    grey = to_grey(frames.to(dtype))
    assert grey.dtype == dtype
    assert (grey - to_grey(frames).to(dtype)).abs().max() <= 0.5001


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_colours_do_not_overflow(rng, half):
    frames = torch.randint(0, 256, (1, 3, 6, 6), generator=rng).to(half)
    torch.testing.assert_close(to_grey(frames).double(), to_grey(frames.double()), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("number", [torch.uint8, torch.float32])
def test_grey_frames_pass_through(number):
    frames = torch.arange(24).reshape(2, 3, 4).to(number)
    assert to_grey(frames) is frames


def test_frame_by_frame(rng):
    frames = torch.randint(0, 256, (5, 3, 4, 6), generator=rng, dtype=torch.uint8)
    together = to_grey(frames)
    assert to_grey(frames[:0]).shape == (0, 4, 6)
    for i in range(5):
        torch.testing.assert_close(to_grey(frames[i : i + 1])[0], together[i])


def test_gradient(rng):
    frames = torch.rand(1, 3, 2, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(to_grey, (frames,))


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 4), (1, 4, 4, 3), (1, 1, 3, 4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected grey \(F, H, W\) or RGB \(F, 3, H, W\)"):
        to_grey(torch.zeros(shape))


@pytest.mark.parametrize("number", [torch.int64, torch.bool])
def test_other_numbers_are_refused(number):
    with pytest.raises(ValueError, match="give uint8, or floating point"):
        to_grey(torch.zeros(1, 3, 4, 4, dtype=number))
