"""The video tracker: a pure function from a state and the next frames to the next state and the faces."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from clnf_torch.detection.face_detector import FaceDetector
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.geometry.frames import Frames, as_frames, as_tensor, warn_of_unit_range
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.records import join_rows, put_rows, take_rows
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pen_marks import PenMarkEraser
from clnf_torch.pipeline.detector import LandmarkDetector
from clnf_torch.pipeline.inputs import check_points
from clnf_torch.tracking.appearance import PIXELS
from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.frame_fitter import FrameBatch, FrameFitter
from clnf_torch.tracking.multi_face import step_multi_face
from clnf_torch.tracking.result import VideoResult
from clnf_torch.tracking.single_face import step_single_face
from clnf_torch.tracking.state import Tracks, TrackState, new_identities
from clnf_torch.tracking.template import Templates


class VideoTracker:
    """Tracks faces through V videos at once; its state is an argument and a result of `step`.

    The detector's validator decides whether a track is lost: without one hardly any fit fails, and faces that leave go
    unnoticed.

    Args:
        detector: Fits landmarks, with its parts and its validator.
        face_detector: Detects faces; None: only boxes given to `place` are tracked.
        config: Settings; default: many faces per video.
        eraser: Takes pen marks away from faces before they are fitted; see `PenMarkEraser`.

    Raises:
        ValueError: There is no preset of the configured name.

    Source:
        OpenFace ``DetectLandmarksInVideo`` with one face per video; with many, its rules for one face at a time.
    """

    def __init__(
        self,
        detector: LandmarkDetector,
        face_detector: FaceDetector | None = None,
        config: VideoConfig | None = None,
        eraser: PenMarkEraser | None = None,
    ) -> None:
        self.detector, self.config = detector, config or VideoConfig()
        self._fitter = FrameFitter(detector, face_detector, self.config, eraser)

    def begin(self, videos: int = 1) -> TrackState:
        """The state before the first frame.

        Args:
            videos: Number of videos V.
        """
        pdm, device = self.detector.model.pdm, self.detector.model.pdm.mean.device
        frame = torch.zeros(videos, dtype=torch.int64, device=device)
        rows = torch.arange(videos if self.config.single_face else 0, device=device)
        return TrackState(
            frame=frame,
            next_identity=frame + int(self.config.single_face),
            preferred=torch.full((videos, 2), torch.nan, dtype=pdm.mean.dtype, device=device),
            unsearched=torch.zeros_like(frame, dtype=torch.bool),
            scene=pdm.mean.new_zeros(videos, PIXELS),
            tracks=Tracks.uninitialised(pdm, rows, torch.zeros_like(rows)),
            templates=Templates.none(len(rows), device),
            smoothed=self._fitter.nothing_smoothed(len(rows)),
        )

    def place(self, state: TrackState, boxes: Any, video: Any = None) -> TrackState:
        """The state with tracks of faces in given boxes, to be fitted in the next frame from there.

        With a single face the box takes the place of the track, with many it begins a new, confirmed one.

        Args:
            state: The state.
            boxes: Extent of the landmarks (x, y, width, height), pixels, shape (K, 4). OpenFace: a box that has no
                width changes nothing; here no unusable one does.
            video: Video of each box, int64, shape (K,); may be left out for one video, or for one box per video.

        Raises:
            ValueError: Shapes or videos are wrong.

        Source:
            OpenFace ``DetectLandmarksInVideo`` with a bounding box.
        """
        pdm = self.detector.model.pdm
        boxes = check_points("boxes", boxes, (4,), like=pdm.mean)
        video = _videos(video, len(boxes), state)
        usable = boxes.isfinite().all(-1) & (boxes[:, 2:] > 0).all(-1)
        boxes, video = boxes[usable], video[usable.to(video.device)]
        params = params_from_box(pdm, boxes, boxes.new_zeros(len(boxes), 3))
        if self.config.single_face:
            return replace(state, tracks=_placed(state.tracks, video, params))
        tracks = Tracks.uninitialised(pdm, video, new_identities(video, state.next_identity))
        tracks = _placed(tracks, torch.arange(len(video), device=video.device), params)
        confirmed = torch.full_like(tracks.hits, self.config.confirm_after)
        return replace(
            state,
            next_identity=state.next_identity.index_add(0, video, torch.ones_like(video)),
            tracks=join_rows(state.tracks, replace(tracks, landmarks=pdm.landmarks(params), hits=confirmed)),
            templates=state.templates.join(Templates.none(len(video), video.device)),
            smoothed=join_rows(state.smoothed, self._fitter.nothing_smoothed(len(video))),
        )

    def prefer(self, state: TrackState, places: Any) -> TrackState:
        """The state in which, with a single face per video, the next detection takes the face nearest to a place.

        Args:
            state: The state.
            places: x and y as shares of the frames' width and height, shape (V, 2); NaN: the widest face.

        Raises:
            ValueError: There are not as many places as videos.

        Source:
            OpenFace ``CLNF::Reset`` with a point.
        """
        places = check_points("places", places, (2,), like=state.preferred)
        if len(places) != state.videos:
            raise ValueError(f"there are {len(places)} places for {state.videos} videos; give one for each, (V, 2)")
        return replace(state, preferred=places)

    @torch.no_grad()
    @in_own_precision
    def step(self, state: TrackState, frames: Frames, damaged: Any = None) -> tuple[TrackState, VideoResult]:
        """The next frame of every video.

        Args:
            state: From `begin` or the step before; it is not changed.
            frames: Gray (V, H, W) or RGB (V, 3, H, W) images, uint8 or floating point in 0 to 255.
            damaged: Frames that could not be read, bool, shape (V,): their faces miss this frame.

        Returns:
            The next state, and the faces.

        Raises:
            ValueError: Shapes or types are wrong, or the state is that of another model or of other settings.
                (Unusable numbers make unsuccessful rows.)
        """
        device = self.detector.model.pdm.mean.device
        self._check_state(state)
        frames = self._frames(frames, state.videos)
        damaged = as_tensor(
            "damaged", torch.zeros(state.videos, dtype=torch.bool, device=device) if damaged is None else damaged
        )
        if damaged.shape != (state.videos,):
            raise ValueError(f"damaged has shape {tuple(damaged.shape)}; expected ({state.videos},)")
        batch = FrameBatch(frames.to(device), damaged.to(device, torch.bool))
        step = step_single_face if self.config.single_face else step_multi_face
        return step(self._fitter, state, batch)

    def _frames(self, frames: Frames, videos: int) -> Tensor:
        """One frame of each video, (V, 1 or 3, H, W)."""
        if not isinstance(frames, list | tuple):
            frames = as_tensor("frames", frames)
            # As many frames as videos: gray ones, though three of them would look like one RGB image elsewhere
            frames = frames[:, None] if frames.ndim == 3 and frames.shape[0] == videos else frames
        if len(frames) != videos:
            shape = tuple(frames.shape) if isinstance(frames, Tensor) else (len(frames),)
            hint = "; give frames[None] for one RGB image" if videos == 1 and shape[0] == len(shape) == 3 else ""
            raise ValueError(
                f"frames have shape {shape}; expected one frame for each of the {videos} videos, gray (V, H, W) or "
                f"RGB (V, 3, H, W){hint}"
            )
        frames = as_frames(frames)
        warn_of_unit_range(self.detector, frames)
        return frames

    def _check_state(self, state: TrackState) -> None:
        """Refuses states, such as saved ones, that this tracker cannot have made."""
        pdm, tracks = self.detector.model.pdm, state.tracks
        found, expected = (tracks.landmarks.shape[1], tracks.params.local.shape[1]), (pdm.num_landmarks, pdm.num_modes)
        if found != expected:
            raise ValueError(
                f"the state is of faces with {found[0]} landmarks and {found[1]} modes, the model has {expected[0]} "
                f"and {expected[1]}; begin anew, or load the model that made the state"
            )
        size = self._fitter.smoothed_size
        if state.smoothed.values.shape[1] != size:
            raise ValueError(
                f"the state has {state.smoothed.values.shape[1]} smoothed numbers of each face, these settings have "
                f"{size}; begin anew, or use the settings that made the state"
            )
        if self.config.single_face and len(tracks) != state.videos:
            raise ValueError(
                f"the state holds {len(tracks)} tracks of {state.videos} videos, not one of each as with a single "
                "face; begin anew, or use the settings that made the state"
            )


def _placed(tracks: Tracks, rows: Tensor, params: ShapeParams) -> Tracks:
    """Tracks that are fitted next from these parameters in some rows (K,)."""
    update = replace(take_rows(tracks, rows), params=params, initialised=torch.ones_like(rows, dtype=torch.bool))
    return put_rows(tracks, rows, update)


def _videos(video: Any, boxes: int, state: TrackState) -> Tensor:
    """The video of each box, on the state's device.

    Raises:
        ValueError: It is not said, or there is no such video.
    """
    if video is None and state.videos not in (1, boxes):
        raise ValueError(f"{boxes} boxes for {state.videos} videos: say with video (K,) which video each is in")
    if video is None:
        video = (
            torch.arange(boxes, device="cpu")
            if state.videos == boxes
            else torch.zeros(boxes, dtype=torch.int64, device="cpu")
        )
    video = as_tensor("video", video)
    if video.shape != (boxes,) or video.is_floating_point() or ((video < 0) | (video >= state.videos)).any():
        raise ValueError(f"video is {video.tolist()}; expected for each of {boxes} boxes a number below {state.videos}")
    return video.to(state.frame.device, torch.int64)
