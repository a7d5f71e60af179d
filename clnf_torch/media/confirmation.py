"""The buffer that holds the frames of a video until every face in them is confirmed, and the saved form of frames."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from clnf_torch.geometry.records import from_plain, take_listed, to_plain
from clnf_torch.media.parallel_videos import VideoFrame
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.tracking.result import HostRows, no_faces


def saved_frame(frame: VideoFrame) -> dict[str, Any]:
    """A frame as plain values and tensors, without its image."""
    plain = {"number": frame.number, "time": frame.time, "damaged": frame.damaged}
    return {**plain, "result": to_plain(frame.result)}


def restored_frame(saved: dict[str, Any], model: LandmarkModel) -> VideoFrame:
    """The frame from `saved_frame`, with an image that is empty.

    Raises:
        ValueError: It holds the faces of another model.
    """
    result = from_plain(no_faces(model), saved["result"])
    image = torch.zeros(3, 0, 0, dtype=torch.uint8, device="cpu")
    return VideoFrame(image, saved["time"], saved["number"], result, HostRows.of(result), saved["damaged"])


@dataclass
class ConfirmationBuffer:
    """Holds back the frames of one video until each of their tracks is confirmed or dropped.

    Confirmed faces are given from their first frame on, numbered without gaps; dropped ones, which the face detector
    found but a few times, are left out. Few frames wait: a tracker soon confirms or drops a track.
    """

    waiting: deque[VideoFrame] = field(default_factory=deque)
    numbers: dict[int, int] = field(default_factory=dict)  # of the identities that were given on
    sent: tuple[int, Tensor] | None = None  # how many of them a table on the device holds, and this table

    def __call__(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Takes a frame; gives those in which every track is confirmed or dropped."""
        self.waiting.append(frame)
        rows = frame.rows
        unconfirmed = {face for face, sure in zip(rows.identity, rows.confirmed, strict=True) if not sure}
        confirmed = self._confirmed()
        while self.waiting and not unconfirmed & set(self.waiting[0].rows.identity):
            yield self._numbered(self.waiting.popleft(), confirmed)

    def end(self) -> Iterator[VideoFrame]:
        """Gives the frames that wait when the video ends; tracks that are unconfirmed then count as faces."""
        confirmed = self._confirmed()
        confirmed.update(self.waiting[-1].rows.identity if self.waiting else ())
        while self.waiting:
            yield self._numbered(self.waiting.popleft(), confirmed)

    def _confirmed(self) -> set[int]:
        """Identities that were confirmed by now."""
        rows = [frame.rows for frame in self.waiting]
        return {face for each in rows for face, sure in zip(each.identity, each.confirmed, strict=True) if sure}

    def _numbered(self, frame: VideoFrame, confirmed: set[int]) -> VideoFrame:
        """A frame with its confirmed faces alone."""
        kept = [row for row, face in enumerate(frame.rows.identity) if face in confirmed]
        result, rows = take_listed(frame.result, kept), frame.rows.take(kept)
        numbers = tuple(self.numbers.setdefault(face, len(self.numbers)) for face in rows.identity)
        if numbers != rows.identity:
            result = replace(result, identity=self._table(result.identity)[result.identity])
        return replace(frame, result=result, rows=replace(rows, identity=numbers))

    def _table(self, identity: Tensor) -> Tensor:
        """The number of each identity that was given on, on the device of some; sent there once for each new face."""
        if self.sent is None or self.sent[0] != len(self.numbers):
            known = [self.numbers.get(face, 0) for face in range(max(self.numbers) + 1)]
            self.sent = len(self.numbers), identity.new_tensor(known)
        return self.sent[1]

    def saved(self) -> dict[str, Any]:
        """All but the images: plain values and tensors."""
        return {"numbers": dict(self.numbers), "waiting": [saved_frame(frame) for frame in self.waiting]}

    @classmethod
    def restored(cls, saved: dict[str, Any], model: LandmarkModel) -> "ConfirmationBuffer":
        """The buffer from `saved`; the images are missing until `with_image` brings them.

        Raises:
            ValueError: It holds the faces of another model.
        """
        return cls(deque(restored_frame(frame, model) for frame in saved["waiting"]), dict(saved["numbers"]))

    def with_image(self, number: int, image: Tensor) -> None:
        """Brings the image of a frame, if that one waits."""
        for place, frame in enumerate(self.waiting):
            if frame.number == number:
                self.waiting[place] = replace(frame, image=image)
