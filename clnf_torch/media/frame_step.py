"""How far the frames of a table are apart: 1, or 5 where every fifth one was tracked."""

from torch import Tensor


def usual_step(frame: Tensor, face: Tensor) -> int:
    """How far frames of a face's neighbouring rows mostly are apart; the least of equals, 1 without neighbours.

    Where no face has two rows, whoever is in them counts.

    Args:
        frame: Number of each row's frame, shape (R,), in any order; of rejected fits too.
        face: Number of its face, int64, shape (R,).
    """
    order = frame.sort(stable=True).indices
    order = order[face[order].sort(stable=True).indices]
    steps = frame[order].diff()
    steps = steps[(face[order].diff() == 0) & (steps > 0)]
    if not len(steps):
        steps = frame.unique().diff()
    return int(steps.mode().values) if len(steps) else 1
