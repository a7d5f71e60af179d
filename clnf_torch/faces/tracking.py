"""Faces in a video, from whatever holds its frames, in one call."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import torch
from torch import Tensor

from clnf_torch.export.face_table import FaceTable
from clnf_torch.faces.detection import camera_of
from clnf_torch.faces.face_track import FaceTrack, faces_of_frame
from clnf_torch.faces.faces import Faces
from clnf_torch.faces.frames import frame_source
from clnf_torch.faces.models import LoadedModels, installed_eraser, loaded_models
from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.boxes import boxes_from
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.frames import as_tensor
from clnf_torch.geometry.records import join_rows
from clnf_torch.media.boxes import check_box
from clnf_torch.media.parallel_videos import VideoFrame
from clnf_torch.media.recording import Recording
from clnf_torch.media.upload import stacked, uploaded
from clnf_torch.media.video_frames import Frame, FrameSource, ahead, video_problem
from clnf_torch.models.numerics import Numerics
from clnf_torch.pipeline import FitResult
from clnf_torch.tracking import VideoConfig, VideoTracker
from clnf_torch.tracking.result import results_by_video

if TYPE_CHECKING:
    from typing_extensions import Unpack


class TrackOptions(TypedDict, total=False):
    """What `track` may be told by name, beside `stream`."""

    face_detector: Any
    box: Any
    box_format: str
    single_face: bool
    smooth: bool
    preset: str | FitConfig
    multi_view: bool
    device: torch.device | str | None
    numerics: str | Numerics | None
    precision: str | None
    camera: Intrinsics | None
    likelihoods: bool
    rate: float | None
    erase_marks: bool


@overload
def track(
    source: Any, model: Any = None, *, stream: Literal[False] = False, **options: "Unpack[TrackOptions]"
) -> FaceTrack: ...
@overload
def track(
    source: Any, model: Any = None, *, stream: Literal[True], **options: "Unpack[TrackOptions]"
) -> Iterator[Faces]: ...
def track(
    source: Any,
    model: Any = None,
    *,
    stream: bool = False,
    face_detector: Any = None,
    box: Any = None,
    box_format: str = "xywh",
    single_face: bool = False,
    smooth: bool = False,
    preset: str | FitConfig = "default",
    multi_view: bool = True,
    device: torch.device | str | None = None,
    numerics: str | Numerics | None = None,
    precision: str | None = None,
    camera: Intrinsics | None = None,
    likelihoods: bool = False,
    rate: float | None = None,
    erase_marks: bool = False,
) -> FaceTrack | Iterator[Faces]:
    """Faces in a video; each keeps its number.

    Args:
        source: The path of a video, or of a folder of numbered images; a pattern such as ``"frames/*.png"``; the number
            of a camera; or frames: an array (F, H, W, 3) or a tensor (F, 3, H, W), RGB, gray ones with one channel
            instead of three; a list of images, as `detect` takes them, or of their paths; or anything that gives one
            after the other.
        model: As for `detect`; "small" and "free" miss small faces unless `face_detector` is another one.
        stream: Give the faces of each frame as they are known, instead of all at the end. A face that is new appears
            some frames later, once it is confirmed, from its first frame on. The `problems` of a frame's faces say
            why it is damaged; what is wrong with the whole video is a warning behind its last frame.
        face_detector: As for `detect`.
        box: Extent of the landmarks of a face in the first frame, pixels, shape (4,), in place of detection.
        box_format: As for `detect`.
        single_face: Follow one face, exactly as OpenFace does.
        smooth: Smooth the faces over time.
        preset: As for `detect`.
        multi_view: Try eleven rotations of the head where a face is detected.
        device: As for `detect`.
        numerics: As for `detect`.
        precision: As for `detect`.
        camera: As for `detect`.
        likelihoods: As for `detect`.
        rate: Frames per second of frames in memory, above 0; None: 30.
        erase_marks: As for `detect`; faces are erased where they were in the frame before, or where they are detected.

    Returns:
        All frames, or with `stream` one frame's `Faces` after the other.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: The source, or an item of a list, is of a type that holds no images. (None in a list stands for an
            image that could not be read.)
        ValueError: The source, or an argument, is none of what it may be; or the video cannot be read.
        BundleError: The model's file is none.
    """
    video = frame_source(source, rate, device)
    given = None if box is None else _given_box(box, box_format, video)
    models = loaded_models(model, face_detector, device, numerics, precision, find=box is None)
    config = VideoConfig(preset=preset, multi_view=multi_view, single_face=single_face, smooth=smooth)
    eraser = installed_eraser(models.device) if erase_marks else None
    tracker = VideoTracker(models.landmarks, models.faces, config, eraser)
    rows = _Rows(models, video)
    record = Recording(rows, models.landmarks, camera_of(camera)(video.width, video.height), likelihoods)
    if stream:
        return _streamed(tracker, video, given, record, rows)
    for frame in _tracked(tracker, video, given):
        record(frame)
    record.end()
    return rows.taken()


def _given_box(box: Any, box_format: str, video: FrameSource) -> Tensor:
    """A caller's box (4,) or (1, 4), which must be one in the video's frames, as x, y, width, height, shape (1, 4)."""
    box = as_tensor("box", box)
    if box.dtype == torch.bool:
        raise ValueError("box is True and False; expected the four numbers of one box, pixels")
    if box.shape not in ((4,), (1, 4)):
        raise ValueError(f"box has shape {tuple(box.shape)}; expected the four numbers of one box, (4,)")
    boxes = boxes_from(box.view(1, 4), box_format)
    check_box(boxes[0].tolist(), video.width, video.height)
    return boxes


def _streamed(
    tracker: VideoTracker, video: FrameSource, box: Tensor | None, record: Recording, rows: "_Rows"
) -> Iterator[Faces]:
    """The faces of each frame, as soon as all that are in it are confirmed or dropped."""
    frames: dict[int, VideoFrame] = {}
    for frame in _tracked(tracker, video, box):
        frames[frame.number] = frame
        record(frame)
        record.flush()
        yield from _given(rows, frames)
    record.end()
    yield from _given(rows, frames)
    # Behind the last frame, so that none is lost where warnings are errors
    if video.problem is not None:
        warnings.warn(video.problem, stacklevel=2)


def _given(rows: "_Rows", frames: dict[int, VideoFrame]) -> Iterator[Faces]:
    """The frames that have come, which are not kept."""
    if rows.tables:
        found = rows.taken()
        for number in found.table.frame.unique_consecutive().tolist():
            frame = frames.pop(number)
            yield faces_of_frame(found._taken(found.table.frame == number), frame.image, frame.problem)


def _tracked(tracker: VideoTracker, video: FrameSource, box: Tensor | None) -> Iterator[VideoFrame]:
    """The frames of a video with their faces; what is wrong with it is its own `problem` then."""
    state = tracker.begin(1)
    state = state if box is None else tracker.place(state, box)
    black = torch.zeros(3, video.height, video.width, dtype=torch.uint8, device="cpu")
    reading = ahead(uploaded(video, tracker.detector.model.pdm.mean.device))
    with contextlib.closing(reading) as frames:
        for number, frame in enumerate(_readable(frames, video), start=1):
            image = black if frame.image is None else frame.image
            with torch.inference_mode():
                damaged = [True] if frame.image is None else None
                state, result = tracker.step(state, stacked([(frame, image)]), damaged)
                (faces,) = results_by_video(result)
            problem = (frame.problem or f"frame {number} is damaged") if frame.image is None else None
            yield VideoFrame(image, frame.time, number, *faces, frame.image is None, problem)


def _readable(frames: Iterator[Frame], video: FrameSource) -> Iterator[Frame]:
    """The frames until there are no more, or one raises an error, which concerns the rest of this video alone."""
    try:
        yield from frames
    except Exception as error:
        video.problem = video_problem(video.path, error)


@dataclass
class _Rows:
    """Takes the rows of a video."""

    models: LoadedModels
    video: FrameSource
    tables: list[FaceTable] = field(default_factory=list)
    fits: list[FitResult] = field(default_factory=list)

    def append(self, table: FaceTable, faces: FitResult, heads: Sequence[Mapping[str, Any]]) -> None:
        """Takes R rows."""
        self.tables.append(table)
        self.fits.append(faces)

    def positions(self) -> dict[str, int]:
        """Nothing is written anywhere."""
        return {}

    def taken(self) -> FaceTrack:
        """All rows that have come since the last time."""
        tables, fits = self.tables, self.fits
        self.tables, self.fits = [], []
        video, rate = str(self.video.path), float(self.video.rate)
        return FaceTrack(
            fit=join_rows(*fits),
            table=FaceTable.join(tables),
            head={"model": self.models.name, "video": video, "frames_per_second": rate},
            video=video,
            rate=rate,
            problem=self.video.problem,
        ).to(self.models.device)
