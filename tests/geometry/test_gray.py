"""`clnf_torch.geometry.gray`: OpenCV's integers, the unrounded sum, and what is refused."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry import gray
from clnf_torch.geometry.gray import image_loops, to_gray
from clnf_torch.geometry.pyramid import halve


def test_uint8_follows_opencvs_integers(rng):
    frames = torch.randint(0, 256, (3, 3, 7, 5), generator=rng, dtype=torch.uint8)
    expected = [
        [
            [(3735 * b + 19235 * g + 9798 * r + 16384) >> 15 for r, g, b in zip(*rows, strict=True)]
            for rows in zip(*frame, strict=True)
        ]
        for frame in frames.tolist()
    ]
    gray = to_gray(frames)
    assert gray.dtype == torch.uint8
    assert gray.tolist() == expected


def test_primary_colours():
    frames = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)
    assert to_gray(frames.mT.reshape(1, 3, 1, 4)).tolist() == [[[76, 150, 29, 255]]]


def test_floats_agree_with_uint8_up_to_the_rounding(rng, dtype):
    frames = torch.randint(0, 256, (2, 3, 8, 8), generator=rng, dtype=torch.uint8)
    gray = to_gray(frames.to(dtype))
    assert gray.dtype == dtype
    assert (gray - to_gray(frames).to(dtype)).abs().max() <= 0.5001


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_colours_do_not_overflow(rng, half):
    frames = torch.randint(0, 256, (1, 3, 6, 6), generator=rng).to(half)
    torch.testing.assert_close(to_gray(frames).double(), to_gray(frames.double()), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("number", [torch.uint8, torch.float32])
def test_gray_frames_pass_through(number):
    frames = torch.arange(24).reshape(2, 3, 4).to(number)
    assert to_gray(frames) is frames


def test_frame_by_frame(rng):
    frames = torch.randint(0, 256, (5, 3, 4, 6), generator=rng, dtype=torch.uint8)
    together = to_gray(frames)
    assert to_gray(frames[:0]).shape == (0, 4, 6)
    for i in range(5):
        torch.testing.assert_close(to_gray(frames[i : i + 1])[0], together[i])


def test_gradient(rng):
    frames = torch.rand(1, 3, 2, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(to_gray, (frames,))


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 4), (1, 4, 4, 3), (1, 1, 3, 4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected gray \(F, H, W\) or RGB \(F, 3, H, W\)"):
        to_gray(torch.zeros(shape))


@pytest.mark.parametrize("number", [torch.int64, torch.bool])
def test_other_numbers_are_refused(number):
    with pytest.raises(ValueError, match="give uint8, or floating point"):
        to_gray(torch.zeros(1, 3, 4, 4, dtype=number))


def test_loops_give_the_same_as_torch(rng, monkeypatch):
    """In any order of memory, of frames of any size, and each mean of four pixels that there is."""
    pytest.importorskip("numba", reason="the compiled loops need numba")
    frames = torch.randint(0, 256, (2, 3, 31, 45), generator=rng, dtype=torch.uint8)
    last = frames.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    sums = torch.arange(1024).clamp(max=1020)[:, None].sub(torch.tensor([0, 255, 510, 765])).clamp(0, 255)
    pixels = sums.to(torch.uint8).view(32, 32, 2, 2).transpose(1, 2).reshape(1, 64, 64)
    found = to_gray(frames), to_gray(last), to_gray(frames[..., 1::2, 3:]), halve(frames[:, 0]), halve(pixels)
    assert image_loops(frames) is not None
    monkeypatch.setattr(gray, "load_kernels", lambda module: None)
    expected = to_gray(frames), to_gray(last), to_gray(frames[..., 1::2, 3:]), halve(frames[:, 0]), halve(pixels)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert image_loops(frames) is None and pixels.long().view(32, 2, 32, 2).sum((1, 3)).unique().numel() == 1021
