"""Lines through points."""

import torch
from torch import Tensor


def along(line: Tensor, share: Tensor) -> Tensor:
    """Points (F, K, 2) at shares (K,) of the length of polylines (F, P, 2)."""
    steps = line.diff(dim=1).norm(dim=-1)
    length = torch.cat((steps.new_zeros(len(line), 1), steps.cumsum(1)), 1)
    place = share * length[:, -1:]
    after = torch.searchsorted(length.contiguous(), place.contiguous(), right=True).clamp(1, line.shape[1] - 1)
    before = after - 1
    part = (place - length.gather(1, before)) / steps.gather(1, before).clamp_min(1e-9)
    first, second = (line.gather(1, at[..., None].expand(-1, -1, 2)) for at in (before, after))
    return torch.lerp(first, second, part[..., None].clamp(0, 1))
