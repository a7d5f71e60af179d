"""Frames wait until it is known which of their faces are faces: what was seen but a few times was a mistake."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from clnf_torch.cli.lanes import Seen
from clnf_torch.tracking.rows import take_rows


@dataclass
class Undecided:
    """Holds the frames of one video back, and gives them on without mistakes, their faces numbered without gaps.

    True faces keep their first frames. No more than a few frames wait: a tracker soon confirms a face or lets it rest.
    """

    waiting: deque[Seen] = field(default_factory=deque)
    numbers: dict[int, int] = field(default_factory=dict)  # of the identities that were given on

    def __call__(self, seen: Seen) -> Iterator[Seen]:
        """Takes a frame; gives those in which every face is decided."""
        self.waiting.append(seen)
        doubtful = set(seen.result.identity[~seen.result.confirmed].tolist())
        sure = self._sure()
        while self.waiting and not doubtful & set(self.waiting[0].result.identity.tolist()):
            yield self._numbered(self.waiting.popleft(), sure)

    def end(self) -> Iterator[Seen]:
        """Gives the frames that wait when the video ends; faces that were in doubt until then are true ones."""
        sure = self._sure()
        sure.update(self.waiting[-1].result.identity.tolist() if self.waiting else ())
        while self.waiting:
            yield self._numbered(self.waiting.popleft(), sure)

    def _sure(self) -> set[int]:
        """Faces that were confirmed by now."""
        return {face for seen in self.waiting for face in seen.result.identity[seen.result.confirmed].tolist()}

    def _numbered(self, seen: Seen, sure: set[int]) -> Seen:
        """A frame with its true faces alone."""
        faces = seen.result.identity.tolist()
        kept = [row for row, face in enumerate(faces) if face in sure]
        result = take_rows(seen.result, torch.tensor(kept, dtype=torch.int64, device=seen.result.identity.device))
        numbers = [self.numbers.setdefault(faces[row], len(self.numbers)) for row in kept]
        return replace(seen, result=replace(result, identity=result.identity.new_tensor(numbers)))
