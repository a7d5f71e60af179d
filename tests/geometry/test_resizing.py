"""`clnf_torch.geometry.resizing`: against a loop over pixels, and against OpenCV."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from clnf_torch.geometry import resizing
from clnf_torch.geometry.resizing import resize_by_factors, resize_patches
from clnf_torch.geometry.sampling import pad_with_black
from tests.factories import seeded

HEIGHT, WIDTH = 17, 23
PATCHES = [[0, 0, WIDTH, HEIGHT], [4, 3, 6, 6], [-5, 9, 11, 20], [18, -3, 12, 12], [7, 7, 1, 1], [-90, -90, 40, 40]]


def make_frames(frames: int = 2, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (frames, channels, HEIGHT, WIDTH), generator=seeded(4), dtype=torch.uint8)


def resized_slowly(image: Tensor, patch: list[int], size: tuple[int, int]) -> Tensor:
    """One channel (H, W) of a patch, sample by sample."""
    x, y, width, height = patch
    out = torch.zeros(size, dtype=torch.float64)

    def pixel(row: int, column: int) -> float:
        row, column = row + y, column + x
        return float(image[row, column]) if 0 <= row < HEIGHT and 0 <= column < WIDTH else 0.0

    for i in range(size[0]):
        for j in range(size[1]):
            v = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
            u = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = math.floor(v), math.floor(u)
            below, beside = min(top + 1, height - 1), min(left + 1, width - 1)
            dv, du = v - top, u - left
            upper = (1 - du) * pixel(top, left) + du * pixel(top, beside)
            lower = (1 - du) * pixel(below, left) + du * pixel(below, beside)
            out[i, j] = (1 - dv) * upper + dv * lower
    return out


@pytest.mark.parametrize("size", [(12, 12), (5, 9), (HEIGHT, WIDTH), (24, 24)])
def test_pixel_by_pixel(size, dtype):
    frames, image_index = make_frames(), torch.tensor([0, 1, 0, 1, 1, 0])
    found = resize_patches(pad_with_black(frames), image_index, torch.tensor(PATCHES), size, dtype)
    assert found.shape == (6, 3, *size) and found.dtype == dtype
    for k, patch in enumerate(PATCHES):
        expected = torch.stack([resized_slowly(channel, patch, size) for channel in frames[image_index[k]]])
        torch.testing.assert_close(found[k].double(), expected, rtol=0, atol=1e-3)  # positions are float32


@pytest.mark.parametrize("size", [(12, 12), (9, 31)])
@pytest.mark.parametrize("channels", [1, 3])
def test_loops_agree_with_torch(monkeypatch, size, channels):
    """Of images whose channels are planes, and of those whose channels are side by side."""
    pytest.importorskip("numba", reason="the compiled loops need numba")
    frames, image_index, patches = make_frames(2, channels), torch.tensor([0, 1, 0, 1, 1, 0]), torch.tensor(PATCHES)
    ways = frames, frames.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    found = [resize_patches(pad_with_black(way), image_index, patches, size, torch.float32) for way in ways]
    monkeypatch.setattr(resizing, "load_kernels", lambda module: None)
    expected = resize_patches(pad_with_black(frames), image_index, patches, size, torch.float32)
    assert torch.equal(*found)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("size", [(12, 12), (9, 31), (40, 6)])
def test_opencv(size):
    """OpenCV 5 places samples in float64, 4 in float32: 1e-6 pixels of 255 gray levels."""
    frames = make_frames(1)
    whole = torch.tensor([[0, 0, WIDTH, HEIGHT]])
    found = resize_patches(pad_with_black(frames), torch.tensor([0]), whole, size, torch.float32)
    expected = cv2.resize(frames[0].permute(1, 2, 0).float().numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
    torch.testing.assert_close(found[0], torch.from_numpy(expected).permute(2, 0, 1), rtol=0, atol=2e-3)


def test_a_size_of_its_own_is_the_patch_itself():
    frames = make_frames()
    found = resize_patches(
        pad_with_black(frames), torch.tensor([1]), torch.tensor([[4, 3, 8, 7]]), (7, 8), torch.float32
    )
    assert torch.equal(found[0], frames[1, :, 3:10, 4:12].float())


def test_gradients_reach_the_image():
    frames = make_frames(1, 1).double().requires_grad_()
    patches, image_index = torch.tensor(PATCHES[1:3]), torch.zeros(2, dtype=torch.int64)
    assert torch.autograd.gradcheck(
        lambda f: resize_patches(pad_with_black(f), image_index, patches, (4, 4), torch.float64), (frames,)
    )


def test_none_and_device(device):
    padded = pad_with_black(make_frames().to(device))
    none = torch.zeros(0, 4, dtype=torch.int64, device=device)
    assert resize_patches(padded, none[:, 0], none, (12, 12), torch.float32).shape == (0, 3, 12, 12)
    found = resize_patches(padded, none.new_zeros(1), none.new_tensor([PATCHES[2]]), (6, 6), torch.float32)
    assert found.device.type == device.type


@pytest.mark.parametrize("factor", [1.0, 0.75, 0.31])
def test_factors_as_opencv(factor):
    images = torch.randint(0, 256, (2, 40, 50), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    patches = torch.tensor([[3, 5, 30, 21], [0, 0, 50, 40], [10, 10, 0, 0]])
    factors = torch.tensor([factor, factor / 2, factor], dtype=torch.float64)
    found, size = resize_by_factors(images, torch.tensor([1, 0, 0]), patches, factors)
    assert size[2].tolist() == [0, 0] and not found[2].any()
    for k, (image, patch) in enumerate(zip(images.flip(0), patches.tolist(), strict=False)):
        x, y, width, height = patch
        part = image[y : y + height, x : x + width].numpy()
        expected = cv2.resize(part, None, fx=float(factors[k]), fy=float(factors[k]))
        assert (expected.shape[1], expected.shape[0]) == tuple(size[k].tolist())
        inside = found[k, : expected.shape[0], : expected.shape[1]]
        np.testing.assert_allclose(inside.numpy(), expected.astype(float), atol=1)
        assert found[k].sum() == inside.sum()
