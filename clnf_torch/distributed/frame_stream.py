"""Frames of a video that a task decodes, and another process uses: arrays that both see without a copy."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clnf_torch.distributed.images import shared_array
from clnf_torch.distributed.inputs import InputFile
from clnf_torch.distributed.storage import local_copy, may_pass, opened
from clnf_torch.media.video import open_video
from clnf_torch.media.video_frames import Frame, VideoError, video_problem

# Bytes of frames that travel together: enough that asking for them takes no time
BLOCK_BYTES = 2**23
# Blocks that wait to be used: with the one in use, memory is bounded whatever the speed of the decoder
BLOCKS_AHEAD = 2


def decode_frames(video: InputFile) -> Iterator[dict[str, Any]]:
    """Decodes a video: what is known of it, then blocks of frames, then what was wrong; also for one it cannot open."""
    notes: list[str] = []
    try:
        with local_copy(video.url) as path:
            source = open_video(path, lambda line: notes.append(line.replace(str(path), video.name)))
            head = {"rate": str(source.rate), "count": source.count}
            yield {**head, "width": source.width, "height": source.height}
            yield from _blocks(source, source.width * source.height * 3)
            problem = source.problem and source.problem.replace(str(path), video.name)
            yield {"problem": problem, "notes": notes}
    except Exception as error:
        if may_pass(error, opened(video.url)[0]):
            raise
        problem = video_problem(Path(video.name), error).replace(video.url, video.name)
        yield {"problem": problem, "notes": notes}


def _blocks(source: Any, frame_bytes: int) -> Iterator[dict[str, Any]]:
    """Frames in blocks, whose images are one array (K, 3, H, W); those that are damaged have none."""
    most = max(1, BLOCK_BYTES // frame_bytes)
    waiting: list[Frame] = []
    frames = iter(source)
    while True:
        try:
            frame = next(frames, None)
        except Exception:
            # Also those before what a decoder stumbles over
            if waiting:
                yield _block(waiting)
            raise
        if frame is not None:
            waiting.append(frame)
        if waiting and (frame is None or len(waiting) == most):
            yield _block(waiting)
            waiting = []
        if frame is None:
            return


def _block(frames: list[Frame]) -> dict[str, Any]:
    images = [frame.image for frame in frames if frame.image is not None]
    return {
        "times": [frame.time for frame in frames],
        "damaged": [frame.image is None for frame in frames],
        "images": torch.stack(images).numpy() if images else np.zeros((0, 3, 0, 0), np.uint8),
    }


class FrameStream:
    """A video whose frames come from `decode_frames`, elsewhere.

    Args:
        name: What it is called.
        blocks: What comes.

    Raises:
        VideoError: It cannot be read.
    """

    def __init__(self, name: str, blocks: Iterator[dict[str, Any]]) -> None:
        self._blocks, self.path = blocks, Path(name)
        self.problem: str | None = None
        # What kept blocks from coming, beside the video itself
        self.failure: Exception | None = None
        self.notes: list[str] = []
        head = next(blocks)
        if "rate" not in head:
            raise VideoError(head["problem"])
        self.rate, self.count = Fraction(head["rate"]), head["count"]
        self.width, self.height = head["width"], head["height"]

    def __iter__(self) -> Iterator[Frame]:
        """The frames, once."""
        for block in self._coming():
            images = iter(shared_array(block["images"]))
            for time, damaged in zip(block["times"], block["damaged"], strict=True):
                yield Frame(time, None if damaged else next(images))

    def _coming(self) -> Iterator[dict[str, Any]]:
        """The blocks of frames."""
        try:
            for block in self._blocks:
                if "times" in block:
                    yield block
                else:
                    self.problem, self.notes = block["problem"], block["notes"]
        except Exception as error:
            self.failure = error


def remote_frames(video: InputFile, num_cpus: float) -> FrameStream:
    """A video that a Ray task of its own decodes, in any process of a cluster.

    Args:
        video: The file.
        num_cpus: CPUs that the task asks for.

    Raises:
        VideoError: It cannot be read.
    """
    import ray

    options = {"num_returns": "streaming", "_generator_backpressure_num_objects": BLOCKS_AHEAD, "num_cpus": num_cpus}
    # Ray's types do not know that a stream is iterated over
    references: Any = ray.remote(decode_frames).options(**options).remote(video)
    return FrameStream(video.name, (ray.get(reference) for reference in references))
