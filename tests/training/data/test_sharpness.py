"""Halved images: what was at a place is where `to_pyramid_level` says."""

from __future__ import annotations

import torch

from clnf_torch.training.data.crops import image_pyramid, to_pyramid_level


def test_a_ramp_keeps_its_places():
    ramp = (4 * torch.arange(32.0)).expand(1, 32, 32).to(torch.uint8)
    sharp, half, quarter = image_pyramid(ramp, 3)
    assert sharp is ramp and half.shape == (1, 16, 16) and quarter.shape == (1, 8, 8)
    for level, image in enumerate((sharp, half, quarter)):
        columns = torch.arange(image.shape[-1], dtype=torch.float32)
        whole = (columns + 0.5) * 2**level - 0.5  # where the columns' middles are in the image
        torch.testing.assert_close(to_pyramid_level(whole, level), columns)
        torch.testing.assert_close(image[0, 0].float(), 4 * whole, atol=0.5, rtol=0)
