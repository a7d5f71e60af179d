"""Lines of ink: their area, their ends, what they overlap, and where they are not."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.training.augmentation import rasterize as ink
from clnf_torch.training.augmentation.rasterize import LineSegments, rasterize


def segments(*lines: tuple[float, float, float, float], radius: float = 2.0, opacity: float = 1.0) -> LineSegments:
    """Lines (x, y, x, y) on the first sheet."""
    ends = torch.tensor(lines, dtype=torch.float32)
    ones = torch.ones(len(lines))
    return LineSegments(
        start=ends[:, :2],
        end=ends[:, 2:],
        radius=radius * ones,
        softness=ones,
        opacity=opacity * ones,
        sheet=torch.zeros(len(lines), dtype=torch.int64),
    )


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.5, 2.9])
@pytest.mark.parametrize("length", [0.0, 0.3, 7.0, 20.0])
def test_a_line_covers_its_area_around_its_middle(angle, length):
    x, y = 31.3, 28.6
    dx, dy = length / 2 * math.cos(angle), length / 2 * math.sin(angle)
    covered = rasterize(segments((x - dx, y - dy, x + dx, y + dy), radius=3.0), 1, 64, 64)[0]
    assert float(covered.sum()) == pytest.approx(math.pi * 9 + 6 * length, rel=0.01)
    middle = (covered.sum(0) @ torch.arange(64.0), covered.sum(1) @ torch.arange(64.0))
    torch.testing.assert_close(torch.stack(middle) / covered.sum(), torch.tensor([x, y]), rtol=0, atol=0.02)


def test_a_line_is_full_inside_and_ends_where_it_should():
    covered = rasterize(segments((10, 20, 30, 20), radius=2.5, opacity=0.8), 1, 40, 40)[0]
    assert torch.equal(covered[18:23, 10:31], torch.full((5, 21), 0.8))
    covered[17:24, 7:34] = 0
    assert not covered.any()


def test_lines_thinner_than_a_pixel_are_pale():
    covered = rasterize(segments((10, 20, 30, 20), radius=0.1), 1, 40, 40)[0]
    assert 0 < float(covered.amax()) <= 0.2


def test_the_strongest_line_counts():
    both = segments((5, 10, 30, 10), (5, 10, 30, 10), opacity=0.5)
    assert torch.equal(rasterize(both, 1, 20, 40), rasterize(both[:1], 1, 20, 40))


def test_sheets_and_what_lies_outside():
    lines = segments((-50, 5, 100, 5), (5, -9, 5, -4), (float("nan"), 1, 2, 3), (4, 5, float("inf"), 5))
    covered = rasterize(LineSegments(**{**vars(lines), "sheet": torch.tensor([1, 1, 0, 0])}), 3, 10, 20)
    assert not covered[[0, 2]].any()
    assert (covered[1, 4:7] == 1).all() and not covered[1, :2].any()


def test_blocks_of_lines_are_drawn_as_all_together(monkeypatch, rng):
    lines = segments(*(60 * torch.rand(50, 4, generator=rng)).tolist())
    together = rasterize(lines, 1, 60, 60)
    monkeypatch.setattr(ink, "PIXELS", 1)
    assert torch.equal(rasterize(lines, 1, 60, 60), together)


def test_no_lines_no_ink():
    assert torch.equal(rasterize(segments((1, 1, 2, 2))[:0], 2, 3, 4), torch.zeros(2, 3, 4))
