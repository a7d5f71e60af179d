"""When the frames of a video are shown: in order, without steps back, at a rate that their times have."""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from fractions import Fraction
from itertools import pairwise

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# Frames per second where a file does not say
USUAL_RATE = Fraction(30)
# Frames per second in use; others near them come from times that are rounded
STANDARD_RATES = (
    *(Fraction(rate) for rate in (5, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)),
    *(Fraction(rate, 1001) for rate in (24_000, 30_000, 60_000, 120_000)),
)
# What rounded times change in a rate, and how far a file's own number may be off what its times say
ROUNDING, TRUST = 0.001, 0.02
# Seconds that a step from frame to frame may be off: many files count milliseconds. And the share of steps that are not
CLOCK_ERROR, USUAL_SHARE = Fraction(1, 1000), 0.9
# Frames per second that can be meant: one a minute is a slow timelapse; faster is a time base, or a high-speed camera
LEAST_RATE, MOST_RATE = Fraction(1, 60), Fraction(10_000)
# Packets by whose times a rate is measured, and how far from the last one packets may come in another order
MEASURED, REORDERED = 240, 16
# Seconds from one frame to the next beyond which a time is taken to be damaged
LONGEST_GAP = 86_400.0


class Gap(Enum):
    """What there is in place of a frame."""

    DAMAGED = "damaged"
    # The frame before it is shown on
    REPEATED = "repeated"


Timed = tuple[float, VideoFrame | Gap]
"""Seconds, and what is shown."""


def seconds(timed: Packet | VideoFrame | None, stream: VideoStream, last: float) -> float:
    """The time of something in a stream, seconds; where it has none, that of the one before."""
    if timed is None or timed.pts is None or not stream.time_base:
        return last
    return float(timed.pts * stream.time_base)


class FrameNumbers:
    """Which frame is which in a file that numbers its packets, and not what they show, as AVI files do.

    Frames are shown in the order of these numbers, though packets may come in another.

    Args:
        stream: The video.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._stream, self._waiting = stream, deque[float]()

    def given(self, packet: Packet | None) -> None:
        """A packet goes to the decoder."""
        if packet is not None and packet.dts is not None:
            self._waiting.append(float(packet.dts * (self._stream.time_base or 1)))

    def shown(self, last: float) -> float:
        """The time of the next frame that the decoder gives."""
        return self._waiting.popleft() if self._waiting else last

    def failed(self, last: float) -> float:
        """The time of the packet that was just given, and is damaged."""
        return self._waiting.pop() if self._waiting else last

    def silent(self) -> None:
        """The packet that was just given gave nothing: the frame before is shown on, unless the decoder holds some."""
        if self._waiting and not self._stream.codec_context.has_b_frames:
            self._waiting.pop()


def by_time(decoded: Iterable[Timed]) -> Iterator[Timed]:
    """What is shown, by time. Decoders give frames in this order, but say at once, and so too early, what is none."""
    early: list[tuple[float, str]] = []
    for time, frame in decoded:
        if isinstance(frame, Gap):
            heapq.heappush(early, (time, frame.value))
            continue
        while early and early[0][0] < time:
            at, gap = heapq.heappop(early)
            yield at, Gap(gap)
        yield time, frame
    yield from ((time, Gap(gap)) for time, gap in sorted(early))


def filled(timed: Iterable[Timed], step: float, most: int) -> Iterator[Timed]:
    """Frames by number, with repeats for the numbers between them that are missing, at most so many."""
    last: float | None = None
    for time, frame in timed:
        missing = 0 if last is None else round((time - last) / step) - 1
        if last is not None and 0 < missing <= most:
            yield from ((last + (1 + number) * step, Gap.REPEATED) for number in range(missing))
            most -= missing
        last = time
        yield time, frame


def increasing(timed: Iterable[Timed], step: float) -> Iterator[Timed]:
    """Times that increase: those that do not, or jump by more than a day, are replaced by a usual step.

    So is one that is alone in being ahead: taken as it is, it would put all that come behind it off.
    """
    last: float | None = None
    for (time, frame), after in _with_next_time(timed):
        if last is not None and (not last < time <= last + LONGEST_GAP or last < after < time - step):
            time = last + step
        last = time
        yield time, frame


def _with_next_time(timed: Iterable[Timed]) -> Iterator[tuple[Timed, float]]:
    """What is shown, each with the time of what comes after it; infinite for the last one."""
    held: Timed | None = None
    for each in timed:
        if held is not None:
            yield held, each[0]
        held = each
    if held is not None:
        yield held, math.inf


def frame_rate(claimed: Fraction | None, measured: Fraction | None) -> Fraction:
    """Frames per second: what a file claims where its times agree, otherwise what they say.

    Args:
        claimed: The file's own number, which may be the resolution of its clock.
        measured: Of the times, None where there are too few.
    """
    if not claimed or not LEAST_RATE <= claimed <= MOST_RATE:
        claimed = None
    if not measured or not LEAST_RATE <= measured <= MOST_RATE:
        return _encodable(claimed) if claimed else USUAL_RATE
    if claimed and abs(claimed / measured - 1) <= TRUST:
        return _encodable(claimed)
    nearest = min(STANDARD_RATES, key=lambda rate: abs(rate / measured - 1))
    return nearest if abs(nearest / measured - 1) <= ROUNDING else _encodable(measured)


def measured_rate(times: Sequence[Fraction], claimed: Fraction | None) -> Fraction | None:
    """Frames per second by the times of neighbouring frames, seconds, in order; None where they say none.

    What is claimed counts where nearly all steps are so long, so that one gap changes nothing.
    """
    steps = [after - before for before, after in pairwise(times)]
    if claimed and steps and sum(abs(step - 1 / claimed) <= CLOCK_ERROR for step in steps) >= USUAL_SHARE * len(steps):
        return claimed
    span = sum(steps, Fraction(0))
    return len(steps) / span if span > 0 else None


def _encodable(rate: Fraction) -> Fraction:
    """A rate as encoders take it, with a small denominator."""
    return Fraction(rate).limit_denominator(1001)
