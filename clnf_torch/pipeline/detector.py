"""The landmark detector: from frame tensors and face boxes, or from other landmarks, to landmarks in one call."""

import io
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.fitting.config import FitConfig, preset_named
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.hypotheses import FRONTAL, MULTI_VIEW, search_hypotheses
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.boxes import boxes_from
from clnf_torch.geometry.frames import Frames
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import Numerics, numerics_named
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline.blocks import in_blocks
from clnf_torch.pipeline.captured import CapturedFit
from clnf_torch.pipeline.finish import finish, with_verdict
from clnf_torch.pipeline.inputs import (
    LEAST_LANDMARKS,
    check_params,
    check_parts,
    check_points,
    known_beforehand,
    read_images,
    warn_of_boxes_outside,
)
from clnf_torch.pipeline.result import FitResult


class LandmarkDetector(nn.Module):
    """Fits the landmarks of many faces in many frames at once, on the device that the detector is on.

    Args:
        model: The landmark model.
        numerics: "openface", "exact", or a `Numerics`.
        validator: Tells how certain a fit is; None: every fit that did not fail succeeds.

    Attributes:
        precision: Of products in the patch experts, "float32", "tf32" or "bf16", and of nothing else; torch's own
            switches are not obeyed.
        origin: What the bundle it was loaded from says beside its model, for `save`: licence, sources, face detector.
    """

    def __init__(
        self, model: LandmarkModel, numerics: str | Numerics = "openface", validator: DetectionValidator | None = None
    ) -> None:
        super().__init__()
        self.model, self.numerics, self.validator = model, numerics_named(numerics), validator
        self.origin: Mapping[str, Any] = {}

    @property
    def precision(self) -> str:
        """Precision of products in the patch experts: see `Numerics`."""
        return self.numerics.precision

    @precision.setter
    def precision(self, name: str) -> None:
        """Refuses one that there is not."""
        self.numerics = replace(self.numerics, precision=name)

    def preset(self, name: str = "default") -> FitConfig:
        """The settings that `fit` takes by that name, to be changed with `dataclasses.replace` and given in its place.

        Raises:
            ValueError: There is no such preset; says which there are.
        """
        return preset_named(name, self.model.family)

    def forward(self, frames: Frames, boxes: Any, image_index: Any = None, **settings: Any) -> FitResult:
        """The same as `fit`, for what calls modules, such as ``torch.export``."""
        return self.fit(frames, boxes, image_index, **settings)

    @in_own_precision
    @in_blocks
    def fit(
        self,
        frames: Frames,
        boxes: Any,
        image_index: Any = None,
        *,
        box_format: str = "xywh",
        preset: str | FitConfig = "default",
        multi_view: bool | None = None,
        regularisation: Any = None,
        landmark_weight: Any = None,
        visible: Any = None,
        parts: bool = True,
        validate: bool = True,
    ) -> FitResult:
        """Landmarks of the faces in boxes.

        Args:
            frames: Gray (F, H, W) or (F, 1, H, W), or RGB (F, 3, H, W) images, uint8 or floating point in 0 to 255: a
                tensor, a numpy array, or a list of images of one size.
            boxes: Extent of each face's landmarks, brows to chin and jaw to jaw: x, y, width, height in pixels, shape
                (B, 4).
            image_index: Which of the frames each box is in, int64, shape (B,). May be left out for one frame, or for
                one box per frame.
            box_format: "xywh" (x, y, width, height), or "xyxy" (left, top, right, bottom).
            preset: "default", "tracking" or "wild", OpenFace's settings of that name; or a `FitConfig` of one's own.
            multi_view: Try eleven rotations of the head instead of the frontal one alone; None: as the preset says.
            regularisation: Weight of the shape prior, a number or one per face (B,), in place of the preset's (22.5 for
                CE-CLM). Smaller where faces are unlike those the model was made from, as in facial palsy.
            landmark_weight: Multiplies the landmarks' weights, shape (N,) or (B, N).
            visible: False hides landmarks, e.g. covered ones, bool, shape (N,) or (B, N).
            parts: Fit the model's parts too, and fold them back into the face.
            validate: Ask the validator, where there is one.

        Returns:
            One row per box.

        Raises:
            ValueError: The shapes or types of the arguments are wrong. (Unusable numbers make unsuccessful rows.)

        Source:
            OpenFace ``DetectLandmarksInImage``.
        """
        boxes = boxes_from(check_points("boxes", boxes, (4,), like=self.model.pdm.mean), box_format)
        config = self._config(preset, multi_view)
        prior = _prior(config, regularisation)
        given, sensible = known_beforehand(self._shape(boxes), boxes, prior, landmark_weight, visible)
        return self._fit_boxes(frames, boxes, image_index, config, given, parts, validate, sensible)[0]

    @in_own_precision
    @in_blocks
    def fit_with_own_success(
        self,
        frames: Frames,
        boxes: Any,
        image_index: Any = None,
        *,
        preset: str | FitConfig = "default",
        multi_view: bool | None = None,
    ) -> tuple[FitResult, Tensor]:
        """As `fit`, and whether the kept hypotheses themselves succeeded, bool, shape (B,).

        OpenFace: its tracker accepts a face by the success that the search reports, and goes on by that of the
        hypothesis it has kept.
        """
        boxes = check_points("boxes", boxes, (4,), like=self.model.pdm.mean)
        config = self._config(preset, multi_view)
        given, sensible = self._known_of(config, boxes)
        return self._fit_boxes(frames, boxes, image_index, config, given, True, True, sensible)

    @in_own_precision
    @in_blocks
    def fit_from_landmarks(
        self,
        frames: Frames,
        landmarks: Any,
        image_index: Any = None,
        *,
        preset: str | FitConfig = "default",
        regularisation: Any = None,
        landmark_weight: Any = None,
        visible: Any = None,
        parts: bool = True,
        validate: bool = True,
    ) -> FitResult:
        """Landmarks found again, from where another method thinks they are.

        Args:
            frames: As for `fit`.
            landmarks: Where to start (x, y), pixels, shape (B, N, 2). Landmarks with a NaN are unknown; at least three
                must be known, and not all at one point.
            image_index: As for `fit`.
            preset: As for `fit`; "tracking" stays closer to the start.
            regularisation: As for `fit`.
            landmark_weight: As for `fit`.
            visible: As for `fit`.
            parts: As for `fit`.
            validate: As for `fit`.

        Returns:
            One row per face.

        Raises:
            ValueError: The shapes or types of the arguments are wrong.
        """
        landmarks = check_points("landmarks", landmarks, (self.model.pdm.num_landmarks, 2), like=self.model.pdm.mean)
        check_parts(self.model, self.validator)
        images, framed = read_images(frames, image_index, landmarks.shape[0], landmarks.device, self)
        config = self._config(preset)
        prior = _prior(config, regularisation)
        given, sensible = known_beforehand(self._shape(landmarks), landmarks, prior, landmark_weight, visible)
        known = landmarks.isfinite().all(-1)
        low = torch.where(known[..., None], landmarks, torch.inf).amin(-2)
        apart = (torch.where(known[..., None], landmarks, -torch.inf).amax(-2) > low).any(-1)
        usable = framed & sensible & apart & (known.sum(-1) >= LEAST_LANDMARKS)
        # Unusable rows look for the mean face, so that they end at once and send no NaN back to what the rows share.
        landmarks = torch.where(usable[:, None, None], landmarks, self.model.pdm.mean[:, :2])
        start = params_from_landmarks(self.model.pdm, landmarks, known | ~usable[:, None])
        start = start.where(usable, start.filled(torch.nan))
        state = FitState.at(start, self.model.pdm.num_landmarks, **given)
        return self._fit_from(images, state, config, parts, validate)

    @in_own_precision
    @in_blocks
    def fit_from_params(
        self,
        frames: Frames,
        params: ShapeParams,
        image_index: Any = None,
        *,
        preset: str | FitConfig = "tracking",
        parts: bool = True,
        validate: bool = True,
    ) -> FitResult:
        """Landmarks of faces that were somewhere else a moment ago.

        Args:
            frames: As for `fit`.
            params: Where each face was, B rows. Rows that are not finite are unsuccessful.
            image_index: As for `fit`.
            preset: As for `fit`.
            parts: As for `fit`.
            validate: As for `fit`.

        Returns:
            One row per face.

        Raises:
            ValueError: The shapes or types of the arguments are wrong.

        Source:
            OpenFace ``CLNF::DetectLandmarks``, as ``DetectLandmarksInVideo`` calls it.
        """
        params = check_params(params, self.model.pdm)
        check_parts(self.model, self.validator)
        images, framed = read_images(frames, image_index, len(params), params.scale.device, self)
        config = self._config(preset)
        given, sensible = self._known_of(config, params.scale)
        usable = framed if sensible is None else framed & sensible
        params = params.where(usable, params.filled(torch.nan))
        state = FitState.at(params, self.model.pdm.num_landmarks, **given)
        return self._fit_from(images, state, config, parts, validate)

    def captured(
        self,
        max_faces: int,
        frame_size: tuple[int, int],
        *,
        frames: int = 1,
        channels: int = 3,
        dtype: torch.dtype = torch.uint8,
        **settings: Any,
    ) -> CapturedFit:
        """`fit` for frames of one size behind CUDA graphs: a call costs the host one launch.

        Args:
            max_faces: Faces of a call at most.
            frame_size: Height and width of the frames, pixels.
            frames: Frames of a call at most.
            channels: 1 for gray frames, 3 for RGB.
            dtype: Number type of the frames, torch.uint8 or floating point; `CapturedFit.fit` takes no other.
            **settings: As for `fit`: preset, multi_view, parts, validate.
        """
        return CapturedFit(self, max_faces, frame_size, frames, channels, dtype, **settings)

    def _fit_boxes(
        self,
        frames: Frames,
        boxes: Tensor,
        image_index: Any,
        config: FitConfig,
        given: Mapping[str, Tensor | None],
        parts: bool,
        validate: bool,
        sensible: Tensor | None = None,
    ) -> tuple[FitResult, Tensor]:
        """See `fit_with_own_success`."""
        check_parts(self.model, self.validator)
        images, framed = read_images(frames, image_index, boxes.shape[0], boxes.device, self)
        warn_of_boxes_outside(self, boxes, framed, images.size)
        usable = framed & boxes.isfinite().all(-1) & (boxes[:, 2:] > 0).all(-1)
        usable = usable if sensible is None else usable & sensible
        fitter = LandmarkFitter(self.model, config, self.numerics)
        boxes = torch.where(usable[:, None], boxes, torch.nan)
        rotations = MULTI_VIEW if config.multi_view else FRONTAL
        pdm = self.model.pdm
        unused = ShapeParams(boxes[:, 0], boxes[:, :3], boxes[:, :2], boxes.new_zeros(len(boxes), pdm.num_modes))
        known = FitState.at(unused, pdm.num_landmarks, **given)
        kept, verdict = search_hypotheses(fitter, rotations, images, boxes, known)
        result = finish(self, images, kept, parts, validate)
        reported = result if verdict is kept else with_verdict(self, result, images, verdict, parts, validate)
        return reported, result.success

    def _fit_from(
        self,
        images: ImageBatch,
        start: FitState,
        config: FitConfig,
        parts: bool,
        validate: bool,
    ) -> FitResult:
        """Fit faces without hypotheses."""
        state = LandmarkFitter(self.model, config, self.numerics).fit(images, start)
        return finish(self, images, state, parts, validate)

    def _known_of(self, config: FitConfig, faces: Tensor) -> tuple[Mapping[str, Tensor | None], Tensor | None]:
        """What settings know of each face (B, ...), see `known_beforehand`; most know nothing, which costs nothing."""
        prior = _prior(config, None)
        return ({}, None) if prior is None else known_beforehand(self._shape(faces), faces, prior, None, None)

    def _shape(self, faces: Tensor) -> tuple[int, int]:
        """Number of faces and of landmarks (B, N)."""
        return faces.shape[0], self.model.pdm.num_landmarks

    def _config(self, preset: str | FitConfig, multi_view: bool | None = None) -> FitConfig:
        """Settings by name, or the caller's own; with or without hypotheses as the preset or the caller says."""
        config = preset_named(preset, self.model.family) if isinstance(preset, str) else preset
        if not isinstance(config, FitConfig):
            raise ValueError(f"preset is of type {type(config).__name__}; expected the name of one, or a FitConfig")
        return config if multi_view is None else replace(config, multi_view=multi_view)


def _prior(config: FitConfig, regularisation: Any) -> Any:
    """The regularisation that is given, or else the settings' own where it is one per face, to be checked as well."""
    own = config.regularisation if isinstance(config.regularisation, Tensor) else None
    return own if regularisation is None else regularisation


def _sent(detector: LandmarkDetector) -> Any:
    """How a detector goes to another process: as a copy of its bytes, unless it is in shared memory or on a card.

    Torch sends an open file for every tensor, and a fork server, Python 3.14's usual start method, takes 252 of them.
    """
    if any(value.is_shared() for value in (*detector.parameters(), *detector.buffers())):
        return detector.__reduce_ex__(2)
    content = io.BytesIO()
    torch.save(detector, content)
    return _received, (content.getvalue(),)


def _received(content: bytes) -> LandmarkDetector:
    """The detector that `_sent` made bytes of."""
    detector: LandmarkDetector = torch.load(io.BytesIO(content), weights_only=False)
    return detector


ForkingPickler.register(LandmarkDetector, _sent)
