"""Floor 4: the landmark detector, from frame tensors and face boxes to landmarks in one call."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from clnf_torch.fitting.areas import Pictures
from clnf_torch.fitting.candidates import SearchInput
from clnf_torch.fitting.config import FitConfig, preset_named
from clnf_torch.fitting.fitter import FaceOptions, FitState, LandmarkFitter
from clnf_torch.fitting.hypotheses import FRONTAL, MULTI_VIEW, search_hypotheses
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.grey import to_grey
from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import Numerics, numerics_named
from clnf_torch.models.shape_params import ShapeParams


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The fitted faces, one per row. A row that could not be fitted has `success` false and keeps how far it came."""

    landmarks: Tensor  # (B, N, 2) pixels (x, y), pixel centres at whole numbers; NaN where the box was unusable
    params: ShapeParams  # pose and shape
    likelihood: Tensor  # (B,) mean log-likelihood of the visible landmarks
    landmark_likelihoods: Tensor  # (B, N), -1e8 where not visible
    view: Tensor  # (B,) int64: the view of the patch experts at the last scale
    visible: Tensor  # (B, N) bool: landmarks that have experts in that view
    hypothesis: Tensor  # (B,) int64: the rotation hypothesis that was kept
    success: Tensor  # (B,) bool


class LandmarkDetector(nn.Module):
    """Fits the landmarks of many faces in many frames at once, on the device that the detector is on.

    Args:
        model: The landmark model.
        numerics: "openface", "exact", or a `Numerics`.
    """

    def __init__(self, model: LandmarkModel, numerics: str | Numerics = "openface") -> None:
        super().__init__()
        self.model, self.numerics = model, numerics_named(numerics)

    def fit(
        self,
        frames: Tensor,
        boxes: Tensor,
        frame: Tensor | None = None,
        *,
        preset: str | FitConfig = "default",
        multi_view: bool | None = None,
        regularisation: Tensor | float | None = None,
        landmark_weight: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> FitResult:
        """Landmarks of the faces in boxes.

        Args:
            frames: Grey (F, H, W) or RGB (F, 3, H, W) pictures, uint8 or floating point in 0 to 255.
            boxes: Extent of each face's landmarks, brows to chin and jaw to jaw: x, y, width, height in pixels, shape
                (B, 4).
            frame: Frame of each box, int64, shape (B,). May be left out for one frame, or for one box per frame.
            preset: "default", "tracking" or "wild", OpenFace's settings of that name; or a `FitConfig` of one's own.
            multi_view: Try eleven rotations of the head instead of the frontal one alone; None: as the preset says.
            regularisation: Weight of the shape prior, a number or one per face (B,), in place of the preset's (22.5 for
                CE-CLM). Smaller where faces are unlike those the model was made from, as in facial palsy.
            landmark_weight: Multiplies the landmarks' weights, shape (N,) or (B, N).
            visible: False hides landmarks, e.g. covered ones, bool, shape (N,) or (B, N).

        Returns:
            One row per box.

        Raises:
            ValueError: The shapes or types of the arguments are wrong. (Unusable numbers make unsuccessful rows.)

        Source:
            OpenFace ``DetectLandmarksInImage``, without its validation and parts.
        """
        boxes = self._points("boxes", boxes, (4,))
        config = self._config(preset)
        rotations = MULTI_VIEW if (config.multi_view if multi_view is None else multi_view) else FRONTAL
        pictures, framed = self._pictures(frames, frame, boxes.shape[0])
        options = self._options(boxes.shape[0], regularisation, landmark_weight, visible)
        usable = framed & boxes.isfinite().all(-1) & (boxes[:, 2:] > 0).all(-1)
        fitter = LandmarkFitter(self.model, config, self.numerics)
        boxes = torch.where(usable[:, None], boxes, torch.nan)
        choice = search_hypotheses(fitter, rotations, SearchInput(pictures=pictures, boxes=boxes, options=options))
        return self._result(choice.state, choice.hypothesis, choice.success & usable)

    def refine(
        self,
        frames: Tensor,
        landmarks: Tensor,
        frame: Tensor | None = None,
        *,
        preset: str | FitConfig = "default",
        regularisation: Tensor | float | None = None,
        landmark_weight: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> FitResult:
        """Landmarks found again, from where another method thinks they are.

        Args:
            frames: As for `fit`.
            landmarks: Where to start (x, y), pixels, shape (B, N, 2). Landmarks with a NaN are unknown; at least three
                must be known.
            frame: As for `fit`.
            preset: As for `fit`; "tracking" stays closer to the start.
            regularisation: As for `fit`.
            landmark_weight: As for `fit`.
            visible: As for `fit`.

        Returns:
            One row per face.

        Raises:
            ValueError: The shapes or types of the arguments are wrong.
        """
        num_landmarks = self.model.pdm.num_landmarks
        landmarks = self._points("landmarks", landmarks, (num_landmarks, 2))
        pictures, framed = self._pictures(frames, frame, landmarks.shape[0])
        options = self._options(landmarks.shape[0], regularisation, landmark_weight, visible)
        known = landmarks.isfinite().all(-1)
        usable = framed & (known.sum(-1) >= 3)
        # Unusable rows look for the mean face, so that they end at once and send no NaN back to what the rows share.
        landmarks = torch.where(usable[:, None, None], landmarks, self.model.pdm.mean[:, :2])
        start = params_from_landmarks(self.model.pdm, landmarks, known | ~usable[:, None])
        start = start.where(usable, start.filled(torch.nan))
        fitter = LandmarkFitter(self.model, self._config(preset), self.numerics)
        state = fitter.fit(pictures, FitState.at(start, num_landmarks), options)
        return self._result(state, torch.zeros_like(state.view), state.going)

    def _config(self, preset: str | FitConfig) -> FitConfig:
        """Settings by name, or the caller's own."""
        return preset_named(preset, self.model.family) if isinstance(preset, str) else preset

    def _points(self, name: str, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Coordinates in the model's number type, on its device."""
        if values.ndim != 1 + len(shape) or values.shape[1:] != shape:
            expected = ", ".join(("B", *map(str, shape)))
            raise ValueError(f"{name} have shape {tuple(values.shape)}; expected ({expected})")
        mean = self.model.pdm.mean
        return values.to(device=mean.device, dtype=mean.dtype)

    def _pictures(self, frames: Tensor, frame: Tensor | None, faces: int) -> tuple[Pictures, Tensor]:
        """The grey frames on the model's device, and the faces (B,) whose frame exists."""
        device = self.model.pdm.mean.device
        grey = to_grey(frames.to(device))
        if frame is None and grey.shape[0] not in (1, faces):
            raise ValueError(f"{faces} faces in {grey.shape[0]} frames: say with frame (B,) which frame each is in")
        if frame is None:
            frame = torch.arange(faces) if grey.shape[0] == faces else torch.zeros(faces, dtype=torch.int64)
        if frame.shape != (faces,) or frame.is_floating_point():
            raise ValueError(
                f"frame is {frame.dtype} of shape {tuple(frame.shape)}; expected one whole number per face, ({faces},)"
            )
        frame = frame.to(device, torch.int64)
        exists = (frame >= 0) & (frame < grey.shape[0])
        return Pictures(grey, torch.where(exists, frame, 0)), exists

    def _options(
        self, faces: int, regularisation: Tensor | float | None, landmark_weight: Tensor | None, visible: Tensor | None
    ) -> FaceOptions:
        """What is known about each face, one row per face, on the model's device."""
        mean = self.model.pdm.mean
        shape = (faces, mean.shape[0])
        if regularisation is not None:
            regularisation = torch.as_tensor(regularisation, dtype=mean.dtype, device=mean.device)
            regularisation = _expanded("regularisation", regularisation, (faces,))
        if landmark_weight is not None:
            landmark_weight = _expanded("landmark_weight", landmark_weight.to(mean), shape)
        if visible is not None:
            visible = _expanded("visible", visible.to(device=mean.device, dtype=torch.bool), shape)
        return FaceOptions(landmark_weight=landmark_weight, visible=visible, regularisation=regularisation)

    def _result(self, state: FitState, hypothesis: Tensor, success: Tensor) -> FitResult:
        """The result of a fit that has ended."""
        sound = state.params.finite()
        landmarks = self.model.pdm.landmarks(state.params.where(sound, state.params.filled(0)))
        return FitResult(
            landmarks=torch.where(sound[:, None, None], landmarks, torch.nan),
            params=state.params,
            likelihood=state.likelihood,
            landmark_likelihoods=state.landmark_likelihoods,
            view=state.view,
            visible=state.visible,
            hypothesis=hypothesis,
            success=success,
        )


def load(
    path: str | Path,
    device: torch.device | str = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    numerics: str | Numerics | None = None,
) -> LandmarkDetector:
    """The detector in a weights file.

    Args:
        path: A bundle from ``clnf-torch convert``.
        device: Where to put it; on the CPU the weights stay in the file until they are used.
        dtype: Number type of the arithmetic.
        numerics: "openface" or "exact"; None: what the bundle was made for.

    Raises:
        BundleError: The file is no bundle.
    """
    bundle = load_bundle(path)
    detector = LandmarkDetector(
        build_model(bundle, dtype), bundle.get("numerics", "openface") if numerics is None else numerics
    )
    return detector.to(device).eval()


def _expanded(name: str, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values for every face; refuses those that do not belong to so many."""
    try:
        return values.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"{name} has shape {tuple(values.shape)}; expected {shape} or one that broadcasts to it"
        ) from None
