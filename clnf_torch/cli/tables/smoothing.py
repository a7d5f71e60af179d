"""Smoothing of tables: each face's points over the frames in which it was found without a gap.

Frames follow each other in the table's usual step: 1, or 5 where every fifth one was tracked. Timestamps play no part.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from clnf_torch.cli.tables.measures import PointTable
from clnf_torch.media.frame_step import usual_step
from clnf_torch.tracking.smoothing import smooth_series

# Of the polynomial that is fitted around each frame: the least that keeps the height of a smile's peak
ORDER = 2


class SmoothingError(RuntimeError):
    """What smoothing needs is not there; its text is one line."""


def savitzky_golay(table: PointTable, window: int) -> Tensor:
    """Smoother points, each the value of a parabola through the frames around it.

    Args:
        table: R rows.
        window: Frames that a parabola is fitted to, an odd number above 2.

    Returns:
        Points in the heads' axes, millimetres, shape (R, 68, 3). Faces that were found in fewer frames than a window in
        a row stay as they are.

    Raises:
        SmoothingError: SciPy is not installed.
    """
    try:
        from scipy.signal import savgol_filter
    except ImportError:
        raise SmoothingError("SciPy is not installed; install it with: pip install 'clnf-torch[smooth]'") from None
    points = table.points.clone()
    for rows in _runs(table):
        if len(rows) >= window:
            smooth = savgol_filter(points[rows].numpy(), window, ORDER, axis=0)
            points[rows] = torch.from_numpy(smooth)
    return points


def one_euro(table: PointTable) -> Tensor:
    """Smoother points, each from the frames before it, by the filter of ``track --smooth``; see `savitzky_golay`."""
    points = table.points.clone()
    for rows in _runs(table):
        points[rows] = smooth_series(points[rows])
    return points


def _runs(table: PointTable) -> Iterator[Tensor]:
    """Rows, int64, of each face that was found in one frame of the table after the other."""
    step = usual_step(table.frame, table.identity)
    known = table.points.isfinite().all(-1).all(-1).nonzero()[:, 0]
    order = known[table.frame[known].sort(stable=True).indices]
    order = order[table.identity[order].sort(stable=True).indices]
    follows = (table.frame[order].diff() == step) & (table.identity[order].diff() == 0)
    ends = (~follows).nonzero()[:, 0] + 1
    return iter(order.tensor_split(ends))
