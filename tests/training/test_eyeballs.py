"""`clnf_torch.training.eyeballs`: numbers that solve equations of which some are wrong."""

from __future__ import annotations

import torch

from clnf_torch.training.eyeballs import _robust_solution


def test_eyes_that_are_far_off_do_not_count(rng):
    truth = torch.tensor([1.0, -3.0, 8.0, 11.0], dtype=torch.float64)
    factors = torch.randn(200, 3, 4, generator=rng, dtype=torch.float64)
    sides = factors @ truth + 0.1 * torch.randn(200, 3, generator=rng, dtype=torch.float64)
    sides[:30] += 50
    torch.testing.assert_close(_robust_solution(factors, sides), truth, atol=0.05, rtol=0)
