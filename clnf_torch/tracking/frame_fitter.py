"""What every tracker does with a frame: fit tracked faces from where they were, detect faces, and fit those."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from clnf_torch.detection.face_detector import FaceBoxes, FaceDetector
from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.records import put_rows, rows_where, take_rows, where_rows
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pen_marks import PenMarkEraser
from clnf_torch.pipeline.detector import LandmarkDetector
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.appearance import appearance_descriptor, is_known, scene_descriptor
from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.result import empty_result
from clnf_torch.tracking.smoothing import SmoothedFaces, smooth_faces, smoothed_size
from clnf_torch.tracking.state import Tracks, TrackState
from clnf_torch.tracking.template import Templates, cut_templates, template_shift


@dataclass(frozen=True)
class FrameBatch:
    """The current frame of every video.

    Attributes:
        frames: Gray (V, H, W) or RGB (V, 3, H, W).
        damaged: Frames that could not be read, bool, shape (V,).
    """

    frames: Tensor
    damaged: Tensor

    @cached_property
    def gray(self) -> Tensor:
        """Gray frames as templates are cut from, uint8, shape (V, H, W)."""
        gray = self.shown[:, 0]
        return gray if gray.dtype == torch.uint8 else gray.nan_to_num(0.0).clamp(0, 255).round().to(torch.uint8)

    @cached_property
    def shown(self) -> Tensor:
        """Gray frames as faces are fitted to, made once for all fits, shape (V, 1, H, W)."""
        return to_gray(self.frames)[:, None]

    @property
    def size(self) -> Tensor:
        """Width and height, int64, shape (2,)."""
        return constant((self.frames.shape[-1], self.frames.shape[-2]), self.damaged, torch.int64)


class FrameFitter:
    """A landmark detector and a face detector with the settings of a tracker.

    Args:
        detector: Fits landmarks.
        face_detector: Detects faces; None: only boxes that the caller places are tracked.
        config: Settings.
        eraser: Takes pen marks away from faces before they are fitted. Whoever a face is, and where it moved, is told
            from the frames as they are.
    """

    def __init__(
        self,
        detector: LandmarkDetector,
        face_detector: FaceDetector | None,
        config: VideoConfig,
        eraser: PenMarkEraser | None = None,
    ) -> None:
        self.detector, self.face_detector, self.config, self.eraser = detector, face_detector, config, eraser
        model = detector.model
        networks = len(set(model.experts))
        # Where one is asked twice, a tracked face need not be asked of it twice
        averaged = networks if model.refinement is not None and networks == model.num_scales else 0
        self._detected_fit, self._tracked_fit = config.fit_configs(model.family, averaged)
        # As `Tracks.fits_due` orders them
        self._presets = self._tracked_fit, self._detected_fit
        # Numbers of a face that are smoothed
        self.smoothed_size = smoothed_size(model) if config.smooth else 0

    def fit_tracks(self, state: TrackState, batch: FrameBatch) -> FitResult:
        """Fit initialised tracks from where they were; the others get an empty result. One row per track.

        OpenFace: small windows where the last fit succeeded, otherwise those of a first fit. Where the frame is not
        readable a face keeps its parameters.
        """
        tracks, result = state.tracks, None
        start = self._template_matched(state, batch) if self.config.template else tracks.params
        image_index = torch.where(batch.damaged[tracks.video], -1, tracks.video)
        shown = batch.shown if self.eraser is None else self._erased_where_due(tracks, batch, start, image_index)
        for number, (preset, count) in enumerate(zip(self._presets, state.fits_due, strict=True)):
            if not count:
                continue
            if count == len(tracks):
                return self._fit_from(tracks, shown, start, image_index, preset)
            rows = rows_where(tracks.fits_due()[number], count)
            begin, place, before = take_rows(start, rows), image_index[rows], take_rows(tracks, rows)
            fit = self._fit_from(before, shown, begin, place, preset)
            result = put_rows(empty_result(self.detector.model, tracks) if result is None else result, rows, fit)
        return empty_result(self.detector.model, tracks) if result is None else result

    def detect(self, batch: FrameBatch, videos: Tensor, count: int) -> FaceBoxes:
        """Faces in the frames of videos (V,) bool, so many; `image_index` of the result is the video.

        Boxes that are not usable are NaN.
        """
        searched = rows_where(videos, count)
        if self.face_detector is None or not count:
            like = self.detector.model.pdm.mean
            return FaceBoxes(boxes=like.new_zeros(0, 4), score=like.new_zeros(0), image_index=searched[:0])
        # Without a copy where every frame is searched
        every = count == len(batch.frames)
        faces = self.face_detector.detect(batch.frames if every else batch.frames[searched])
        usable = faces.boxes.isfinite().all(-1) & (faces.boxes[:, 2:] > 0).all(-1)
        device = searched.device
        return FaceBoxes(
            boxes=torch.where(usable[:, None], faces.boxes, torch.nan).to(device),
            score=faces.score.to(device),
            image_index=searched[faces.image_index.to(device)],
        )

    def fit_boxes(self, batch: FrameBatch, boxes: Tensor, video: Tensor) -> FitResult:
        """Fit faces in detected boxes (K, 4). OpenFace: with multi-view, whatever the caller's preset says."""
        shown, multi_view = self._shown(batch, boxes, video), self.config.multi_view
        return self.detector.fit(shown, boxes, video, preset=self._detected_fit, multi_view=multi_view)

    def fit_with_own_success(self, batch: FrameBatch, boxes: Tensor, video: Tensor) -> tuple[FitResult, Tensor]:
        """As `fit_boxes`, and whether the kept hypotheses themselves succeeded (K,)."""
        shown, preset, multi_view = self._shown(batch, boxes, video), self._detected_fit, self.config.multi_view
        return self.detector.fit_with_own_success(shown, boxes, video, preset=preset, multi_view=multi_view)

    def update_templates(self, templates: Templates, batch: FrameBatch, tracks: Tracks, found: Tensor) -> Templates:
        """The faces' templates, cut anew where the faces were found (R,)."""
        if not self.config.template:
            return templates
        new = cut_templates(batch.gray, tracks.video, box_around(tracks.landmarks))
        return new.where(found, templates)

    def nothing_smoothed(self, rows: int) -> SmoothedFaces:
        """What the smoothing of results knows of new tracks, so many."""
        return SmoothedFaces.none(rows, self.smoothed_size, self.detector.model.pdm.mean)

    def smooth(
        self, before: SmoothedFaces, faces: FitResult, found: Tensor, detected: Tensor
    ) -> tuple[SmoothedFaces, FitResult]:
        """The faces (R,), smoothed where they were found (R,) if that is asked for, and what the next frame needs.

        Those that were not found where they were, but detected anew (R,), begin anew: in the same frame too they may
        be elsewhere, as behind a cut, and what lies in between is no place of theirs.
        """
        if not self.config.smooth:
            return before, faces
        return smooth_faces(replace(before, known=before.known & ~detected), faces, found)

    def scenes(self, batch: FrameBatch, before: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors of the frames (V, 256), and in which videos (V,) there is a cut in front of them.

        Where nothing can be seen it stays the one before (V, 256): a camera that fails for a while is no cut. Without a
        face detector nobody would find the face that follows a cut, and nobody looks for cuts.
        """
        if self.face_detector is None:
            return before, torch.zeros_like(batch.damaged)
        scene = scene_descriptor(batch.gray).to(before)
        valid = is_known(scene) & ~batch.damaged
        similarity = (scene * before).sum(1)
        cut = valid & is_known(before) & (similarity < self.config.scene_similarity)
        return torch.where(valid[:, None], scene, before), cut

    def appearance(self, batch: FrameBatch, landmarks: Tensor, video: Tensor) -> Tensor:
        """Appearance descriptors of faces with these landmarks (K, N, 2), shape (K, 256)."""
        return appearance_descriptor(batch.gray, video, landmarks, self.detector.model.pdm.mean)

    def _shown(self, batch: FrameBatch, boxes: Tensor, video: Tensor) -> Tensor:
        """Gray frames as faces in boxes (K, 4) of videos (K,) are fitted to, (V, 1, H, W)."""
        if self.eraser is None:
            return batch.shown
        return to_gray(self.eraser.erase(batch.frames, boxes, video))[:, None]

    def _erased_where_due(self, tracks: Tracks, batch: FrameBatch, start: ShapeParams, image_index: Tensor) -> Tensor:
        """Gray frames (V, 1, H, W) without pen marks on the faces of tracks that are to be fitted from there."""
        boxes = box_around(self.detector.model.pdm.landmarks(start))
        return self._shown(batch, torch.where(tracks.initialised[:, None], boxes, torch.nan), image_index)

    def _fit_from(
        self, tracks: Tracks, shown: Tensor, start: ShapeParams, image_index: Tensor, preset: FitConfig
    ) -> FitResult:
        """The fits of tracks from these parameters; one whose frame is not readable stays where it was."""
        fit = self.detector.fit_from_params(shown, start, image_index, preset=preset)
        readable = fit.params.finite()
        before = {"params": tracks.params, "landmarks": tracks.landmarks}
        kept: dict[str, Any] = where_rows(readable, {"params": fit.params, "landmarks": fit.landmarks}, before)
        return replace(fit, **kept)

    def _template_matched(self, state: TrackState, batch: FrameBatch) -> ShapeParams:
        """Parameters of all tracks, moved to where template matching finds the faces' images of the frame before."""
        tracks = state.tracks
        boxes = box_around(self.detector.model.pdm.landmarks(tracks.params))
        shift = template_shift(state.templates, batch.gray, tracks.video, boxes, tracks.params.scale)
        trusted = (tracks.initialised & tracks.success & ~batch.damaged[tracks.video])[:, None]
        return replace(tracks.params, translation=tracks.params.translation + torch.where(trusted, shift, 0))
