"""What every kind of tracking does with a frame: follow faces from where they were, look for others, fit them."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from clnf_torch.detection.face_detector import FaceBoxes, FaceDetector
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.records import put_rows
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline.detector import LandmarkDetector
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.appearance import appearance_descriptor
from clnf_torch.tracking.association import box_around_landmarks
from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.result import at_rest
from clnf_torch.tracking.state import Tracks, TrackState
from clnf_torch.tracking.template import Templates, cut_templates, template_shift


@dataclass(frozen=True)
class FrameBatch:
    """The current frame of every video."""

    frames: Tensor  # gray (V, H, W) or RGB (V, 3, H, W)
    damaged: Tensor  # (V,) bool: frames that show nothing

    @cached_property
    def gray(self) -> Tensor:
        """Gray frames as templates are cut from, uint8, shape (V, H, W)."""
        gray = to_gray(self.frames)
        return gray if gray.dtype == torch.uint8 else gray.nan_to_num(0.0).clamp(0, 255).round().to(torch.uint8)

    @property
    def corner(self) -> Tensor:
        """Width and height, int64, shape (2,)."""
        return torch.tensor([self.frames.shape[-1], self.frames.shape[-2]], device=self.frames.device)


class FrameFitter:
    """A landmark detector and a face detector with the settings of a tracker.

    Args:
        detector: Fits landmarks.
        face_detector: Finds faces; None: only boxes that the caller places are followed.
        config: Settings.
    """

    def __init__(self, detector: LandmarkDetector, face_detector: FaceDetector | None, config: VideoConfig) -> None:
        self.detector, self.face_detector, self.config = detector, face_detector, config
        self._first, self._small = config.fit_configs(detector.model.family)

    def follow(self, state: TrackState, scene: FrameBatch) -> FitResult:
        """Fit the faces that are followed from where they were; the others rest. One row per track.

        OpenFace: small windows where the last fit succeeded, otherwise those of a first fit. Where the frame is not
        readable a face keeps its parameters.
        """
        tracks, result = state.tracks, at_rest(self.detector.model, state.tracks)
        start = self._by_template(state, scene) if self.config.template else tracks.params
        frame = torch.where(scene.damaged[tracks.video], -1, tracks.video)
        for preset, chosen in (
            (self._small, tracks.initialised & tracks.success),
            (self._first, tracks.initialised & ~tracks.success),
        ):
            rows = chosen.nonzero().squeeze(1)
            if rows.numel():
                fit = self.detector.track(scene.frames, start[rows], frame[rows], preset=preset)
                readable = fit.params.finite()
                fit = replace(
                    fit,
                    params=fit.params.where(readable, tracks.params[rows]),
                    landmarks=torch.where(readable[:, None, None], fit.landmarks, tracks.landmarks[rows]),
                )
                result = put_rows(result, rows, fit)
        return result

    def find(self, scene: FrameBatch, videos: Tensor) -> FaceBoxes:
        """Faces in the frames of videos (V,) bool; `frame` of the result is the video."""
        searched = (videos & ~scene.damaged).nonzero().squeeze(1)
        if self.face_detector is None or not searched.numel():
            like = self.detector.model.pdm.mean
            return FaceBoxes(boxes=like.new_zeros(0, 4), confidence=like.new_zeros(0), frame=searched[:0])
        faces = self.face_detector.detect(scene.frames[searched])
        sizes = faces.boxes.isfinite().all(-1) & (faces.boxes[:, 2:] > 0).all(-1)
        device = searched.device
        return FaceBoxes(
            boxes=faces.boxes[sizes].to(device),
            confidence=faces.confidence[sizes].to(device),
            frame=searched[faces.frame[sizes].to(device)],
        )

    def fit(self, scene: FrameBatch, boxes: Tensor, video: Tensor) -> FitResult:
        """Fit faces in detected boxes (K, 4). OpenFace: with multi-view, whatever the caller's preset says."""
        return self.detector.fit(scene.frames, boxes, video, preset=self._first, multi_view=self.config.multi_view)

    def remember(self, templates: Templates, scene: FrameBatch, tracks: Tracks, found: Tensor) -> Templates:
        """The faces' images, taken anew where they were found (R,)."""
        if not self.config.template:
            return templates
        new = cut_templates(scene.gray, tracks.video, box_around_landmarks(tracks.landmarks))
        return new.where(found, templates)

    def looks(self, scene: FrameBatch, landmarks: Tensor, video: Tensor) -> Tensor:
        """What faces with these landmarks (K, N, 2) look like, shape (K, 256)."""
        return appearance_descriptor(scene.gray, video, landmarks, self.detector.model.pdm.mean)

    def _by_template(self, state: TrackState, scene: FrameBatch) -> ShapeParams:
        """Parameters moved to where the faces' images of the frame before are found."""
        tracks = state.tracks
        boxes = box_around_landmarks(self.detector.model.pdm.landmarks(tracks.params))
        shift = template_shift(state.templates, scene.gray, tracks.video, boxes, tracks.params.scale)
        trusted = (tracks.initialised & tracks.success & ~scene.damaged[tracks.video])[:, None]
        return replace(tracks.params, translation=tracks.params.translation + torch.where(trusted, shift, 0))
