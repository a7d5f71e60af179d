"""Tables of candidate boxes: as long as there are candidates where that can be read for nothing, else of fixed size."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import nms
from clnf_torch.geometry.suppression import nms_table, without_rivals

# Group of rows that hold no box: more than there are frames
NO_GROUP = 1 << 40


class Tables:
    """Tables with as many rows as there are candidates, which the host reads; for the CPU."""

    def compact(self, mask: Tensor, stage: str) -> tuple[Tensor, Tensor | None]:
        """Rows where a mask (N,) is true.

        Args:
            mask: Rows of a longer table.
            stage: The table that they go to, a field of `Capacity`.

        Returns:
            Their indices in order, int64, shape (C,); and which of the C hold one, bool, shape (C,), or None: all.
        """
        return mask.nonzero().squeeze(1), None

    def trim(self, mask: Tensor) -> tuple[Tensor | slice, Tensor | None]:
        """As `compact`, in a table that may stay as long as it is."""
        return mask.nonzero().squeeze(1), None

    def without_rivals(self, rivals: Tensor) -> Tensor:
        """Rows (C,) that no kept row suppresses, given the better ones (C, R) that overlap them."""
        return without_rivals(rivals)[0]

    def nms(
        self, boxes: Tensor, score: Tensor, group: Tensor, valid: Tensor | None, threshold: float, of_smaller: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Non-maximum suppression; see `clnf_torch.geometry.boxes.nms`.

        Args:
            boxes: Shape (C, 4).
            score: Shape (C,).
            group: Boxes of different groups do not see each other, int64, shape (C,).
            valid: Rows that hold a box, bool, shape (C,); None: all.
            threshold: The `box_iou` that two kept boxes may have.
            of_smaller: As for `box_iou`.

        Returns:
            Indices by group and from the best to the worst, int64; and which of them are kept, bool, or None: all.
        """
        return nms(boxes, score, group, threshold, of_smaller), None


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Rows of tables of fixed size. What photographs of a few faces need; where one needs more, all are made longer.

    Attributes:
        cells: Candidates of the first network, for each frame of a batch on average; like the next two.
        proposals: Candidates that the second network is shown.
        faces: Candidates that the third network is shown.
        neighbours: Better candidates of its frame that one is compared with.
        passes: Of non-maximum suppression, as many as chains of boxes that suppress the next one are long.
    """

    cells: int = 1024
    proposals: int = 256
    faces: int = 32
    neighbours: int = 64
    passes: int = 6

    def grown(self, needed: list[int]) -> "Capacity":
        """A capacity that what was needed of each attribute fits into."""
        sizes = {}
        for field, least in zip(fields(self), needed, strict=True):
            size = getattr(self, field.name)
            while size < least:
                size *= 2
            sizes[field.name] = size
        return replace(self, **sizes)


class FixedTables(Tables):
    """Tables whose size the host knows beforehand, so that it waits for nothing; for GPUs.

    Args:
        capacity: Of the tables.
        frames: Number of frames that share them.
    """

    def __init__(self, capacity: Capacity, frames: int) -> None:
        self.capacity, self._frames = capacity, max(1, frames)
        self._needed: list[tuple[str, Tensor]] = []

    def compact(self, mask: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        """Rows where a mask (N,) is true, as many as the table holds; the others are the first row."""
        rows = getattr(self.capacity, stage) * self._frames
        places = mask.cumsum(0)
        self._needed.append((stage, places[-1]))
        # The first place is for what is false, the last one for what finds none
        target = (places * mask).clamp_max(rows + 1)
        source = torch.arange(len(mask), device=mask.device)
        index = torch.zeros(rows + 2, dtype=torch.int64, device=mask.device).scatter(0, target, source)
        return index[1:-1], torch.arange(rows, device=mask.device) < places[-1:]

    def trim(self, mask: Tensor) -> tuple[slice, Tensor]:
        """The table as it is, and which of its rows still hold a box."""
        return slice(None), mask

    def without_rivals(self, rivals: Tensor) -> Tensor:
        """Rows (C,) that no kept row suppresses, given the better ones (C, R) that overlap them."""
        kept, unsettled = without_rivals(rivals, self.capacity.passes)
        self._needed.append(("passes", unsettled))
        return kept

    def nms(
        self, boxes: Tensor, score: Tensor, group: Tensor, valid: Tensor | None, threshold: float, of_smaller: bool
    ) -> tuple[Tensor, Tensor]:
        """Non-maximum suppression among the rows that hold a box."""
        if valid is None:
            valid = torch.ones_like(group, dtype=torch.bool)
        # Each row without a box is a group of its own
        alone = NO_GROUP + torch.arange(len(group), device=group.device)
        sizes = (self.capacity.neighbours, self.capacity.passes)
        found = nms_table(boxes, score, torch.where(valid, group, alone), threshold, of_smaller, *sizes)
        order, kept, neighbours, unsettled = found
        self._needed += [("neighbours", neighbours), ("passes", unsettled)]
        return order, kept & valid[order]

    def needed(self) -> Tensor:
        """What the tables needed, int64; `grown` reads it."""
        return torch.stack([count for _, count in self._needed])

    def grown(self, needed: list[int]) -> Capacity:
        """The capacity that what was needed fits into.

        Args:
            needed: From `needed`.
        """
        most = dict.fromkeys((field.name for field in fields(self.capacity)), 0)
        for (name, _), count in zip(self._needed, needed, strict=True):
            if name == "passes":
                least = self.capacity.passes + 1 if count else 0
            else:
                least = count if name == "neighbours" else -(-count // self._frames)
            most[name] = max(most[name], least)
        return self.capacity.grown(list(most.values()))
