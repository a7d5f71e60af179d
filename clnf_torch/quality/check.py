"""Can these landmarks be right? Looked at from all sides: shape, order, place, motion, and the image itself."""

import functools
import math

import torch
from torch import Tensor

from clnf_torch.fitting.images import ImageBatch, Looking
from clnf_torch.fitting.mean_shift import landmark_likelihoods
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline.detector import LandmarkDetector, load
from clnf_torch.pipeline.inputs import check_points, read_images
from clnf_torch.quality import ordering as outline
from clnf_torch.quality.config import QualityConfig
from clnf_torch.quality.result import LandmarkQuality
from clnf_torch.quality.robust_fit import RobustFit, robust_fit

# Cells of the response maps, 4 to 7 mm each at the coarsest scale: almost an eye distance
WINDOW = 11
# Width of the kernel, cells
SIGMA = 1.0


def expert_support(
    model: LandmarkModel, numerics: Numerics, images: ImageBatch, shape: ShapeParams, landmarks: Tensor
) -> tuple[Tensor, Tensor]:
    """The smoothed response of each landmark's expert at the landmark, as a share of the best one in a window.

    The experts of the coarsest scale are asked; a share, unlike a likelihood, means the same for every family of
    experts.

    Args:
        model: The model.
        numerics: How its experts compute.
        images: The images of the faces.
        shape: Pose and shape of the faces, around whose landmarks the experts look.
        landmarks: Where the landmarks are thought to be, pixels, shape (B, N, 2).

    Returns:
        Shares from 0 to 1, 0 where a landmark is outside its window or the image cannot be read, shape (B, N); and
        the landmarks that have experts in the face's view, bool, shape (B, N).
    """
    experts, looking = model.experts_at(0), Looking(images, numerics.sample_on_32nds)
    seen, upright = model.pdm.landmarks(shape), model.pdm.reference_landmarks(shape.local, experts.scale)
    to_reference = similarity_between(seen, upright)
    view = experts.nearest_view(shape.rotation)
    responses, base = experts.around(seen, invert_similarity(to_reference), view, WINDOW, looking.cut_areas, numerics)
    middle = (WINDOW - 1) // 2
    positions = torch.bmm(landmarks - base, to_reference.mT) + middle
    visible = experts.visible[view]
    here = landmark_likelihoods(responses, positions, visible, SIGMA)
    best = smoothed(responses, SIGMA).amax((-2, -1))
    share = (here / best.clamp_min(torch.finfo(best.dtype).tiny)).clamp(0, 1)
    return torch.where(visible & looking.readable[:, None], share, 0), visible


def smoothed(responses: Tensor, sigma: float) -> Tensor:
    """Response maps (B, N, R, R), each cell the Gaussian-weighted sum of those around it; as `landmark_likelihoods`."""
    cells = torch.arange(responses.shape[-1], dtype=responses.dtype, device=responses.device)
    kernel = (-0.5 / sigma**2 * (cells[:, None] - cells).square()).exp()
    return kernel @ responses @ kernel


LANDMARKS = 68
# Of the landmarks: a shape can be fitted to them
ENOUGH = 1 / 3
# Pixels; what lies farther away counts as not finite
LARGEST = 1e6


@torch.no_grad()
def check_landmark_quality(
    landmarks: Tensor,
    detector: LandmarkDetector | None = None,
    *,
    frames: Tensor | None = None,
    frame: Tensor | None = None,
    size: tuple[int, int] | None = None,
    boxes: Tensor | None = None,
    previous: Tensor | None = None,
    following: Tensor | None = None,
    confidence: Tensor | None = None,
    config: QualityConfig | None = None,
) -> LandmarkQuality:
    """Judges landmarks that any method found. What is not given is not looked at.

    Args:
        landmarks: iBUG's 68 points, pixels (x, y), shape (B, 68, 2). NaN: the method does not know.
        detector: Its shape model says which faces there are; given frames, its experts say what they see. None: the one
            that is installed with the package, on the landmarks' device.
        frames: Gray (F, H, W) or RGB (F, 3, H, W) images, as for `LandmarkDetector.fit`.
        frame: Frame of each face, int64, shape (B,); may be left out for one frame, or for one face per frame.
        size: Height and width of the images, where no frames are given.
        boxes: Where the faces are, the extent of their landmarks: x, y, width, height, pixels, shape (B, 4). Rows with
            a NaN are not known.
        previous: The same faces' landmarks one frame earlier, shape (B, 68, 2), NaN where not known; see `neighbours`.
        following: One frame later. A face that is near either one has not jumped.
        confidence: The other method's own, from 0 to 1, shape (B,) or (B, 68).
        config: The bounds.

    Returns:
        One row per face.

    Raises:
        ValueError: The shapes or types of the arguments are wrong, or the detector has other landmarks.
    """
    detector = detector or _installed(str(landmarks.device))
    config, model = config or QualityConfig(), detector.model
    if model.pdm.num_landmarks != LANDMARKS:
        raise ValueError(f"the detector finds {model.pdm.num_landmarks} landmarks; quality is judged of {LANDMARKS}")
    landmarks = check_points("landmarks", landmarks, (LANDMARKS, 2), like=model.pdm.mean)
    # NaN is not
    known = (landmarks.abs() < LARGEST).all(-1)
    images, framed = None, known.new_ones(len(landmarks))
    if frames is not None:
        images, framed = read_images(frames, frame, len(landmarks), landmarks.device)
        size = images.size
    beyond_image = _beyond_image(landmarks, size) if size is not None else torch.zeros_like(known)
    boxes = None if boxes is None else check_points("boxes", boxes, (4,), like=landmarks)
    beyond_box = _beyond_box(landmarks, boxes) if boxes is not None else torch.zeros_like(known)
    shape = robust_fit(model.pdm, landmarks, _trusted(known, ~beyond_image & ~beyond_box))
    # Points that are not known count as where the others would have them; a row is poor for them already.
    landmarks = torch.where(known[..., None], landmarks, shape.landmarks)
    nothing = torch.zeros_like(shape.tilt)
    outside = torch.maximum(_share(beyond_image) / config.beyond_image, _share(beyond_box) / config.beyond_box)
    if boxes is not None:
        outside = torch.maximum(outside, _other_size(landmarks, boxes) / math.log(config.box_ratio))
    unlikely, jumped, unsure = nothing, nothing, nothing
    support = torch.full_like(shape.residuals, torch.nan)
    if images is not None:
        support, visible = expert_support(model, detector.numerics, images, shape.params, landmarks)
        mean = (support * known).sum(-1) / visible.sum(-1).clamp_min(1)
        unlikely = torch.where(framed, (1 - mean) / (1 - config.support_of(model.family)), 0)
    others = [
        check_points("neighbours", one, (LANDMARKS, 2), like=landmarks)
        for one in (previous, following)
        if one is not None
    ]
    if others:
        jumped = _jump(landmarks, others, shape) / config.jump
    if confidence is not None:
        unsure = _doubt(confidence.to(landmarks), len(landmarks)) / (1 - config.least_confidence)
    strains = (
        torch.where(known.all(-1), nothing, torch.inf),
        _implausible(shape, known, config),
        *_crossings(landmarks, shape, config),
        _jaw(landmarks, shape, config),
        outside,
        jumped,
        unlikely,
        unsure,
    )
    strain = torch.stack([one.to(landmarks) for one in strains], -1).nan_to_num(torch.inf, torch.inf)
    return LandmarkQuality(strain=strain, doubtful=shape.residuals > config.off, support=support, shape=shape)


@functools.cache
def _installed(device: str) -> LandmarkDetector:
    """The detector that is installed with the package."""
    return load(device=device)


def _implausible(shape: RobustFit, known: Tensor, config: QualityConfig) -> Tensor:
    """How far the shape is from all faces: residuals and coefficients together, points that are off, and the tilt."""
    residuals = torch.where(known, shape.residuals, 0)
    count = known.sum(-1).clamp_min(1)
    fit = torch.hypot(residuals.sum(-1) / count / config.residual, shape.unlikeness / config.unlikeness)
    off = ((residuals > config.off).sum(-1) / count) / config.share_off
    return torch.stack((fit, off, shape.tilt / config.tilt)).amax(0)


def _crossings(landmarks: Tensor, shape: RobustFit, config: QualityConfig) -> tuple[Tensor, Tensor]:
    """How far eyes and mouth are out of order: across along the face's own vertical, along them as in the shape."""
    points, fitted = _in_millimetres(landmarks, shape)
    down = torch.nn.functional.normalize(euler_to_matrix(shape.params.rotation)[:, :2, 1], dim=-1)
    eyes, mouth = (
        torch.maximum(
            outline.wrong_way(points, across, down),
            outline.wrong_way(points, along, outline.directions(fitted, along)),
        )
        for across, along in ((outline.LIDS, outline.ALONG_EYES), (outline.LIPS, outline.ALONG_MOUTH))
    )
    return eyes.clamp_min(0) / config.order, mouth.clamp_min(0) / config.order


def _jaw(landmarks: Tensor, shape: RobustFit, config: QualityConfig) -> Tensor:
    """How far the jaw is folded, or not as long, wide or far below the mouth as in the shape."""
    points, fitted = _in_millimetres(landmarks, shape)
    folded = outline.wrong_way(points, outline.ALONG_JAW, outline.directions(fitted, outline.ALONG_JAW))
    length, width, chin = (
        outline.misfit(outline.lengths(points, pairs).sum(-1), outline.lengths(fitted, pairs).sum(-1))
        for pairs in (outline.ALONG_JAW, (outline.EAR_TO_EAR,), (outline.CHIN_TO_MOUTH,))
    )
    return torch.stack(
        (
            folded.clamp_min(0) / config.jaw_order,
            length / config.jaw_length,
            width / config.jaw_width,
            chin / config.chin,
        )
    ).amax(0)


def _in_millimetres(landmarks: Tensor, shape: RobustFit) -> tuple[Tensor, Tensor]:
    """Landmarks and the shape's landmarks, in millimetres of the face."""
    scale = shape.params.scale[:, None, None]
    return landmarks / scale, shape.landmarks / scale


def _trusted(known: Tensor, inside: Tensor) -> Tensor:
    """Landmarks (B, 68) that the shape is fitted to: those inside, or all that are known where few are inside."""
    enough = _share(known & inside) >= ENOUGH
    return known & (inside | ~enough[:, None])


def _share(landmarks: Tensor) -> Tensor:
    """How many of the landmarks (B, 68) it is, shape (B,)."""
    return landmarks.float().mean(-1)


def _beyond_image(landmarks: Tensor, size: tuple[int, int]) -> Tensor:
    """Landmarks (B, 68) beyond the outer edges of an image's pixels."""
    edge = landmarks.new_tensor([size[1], size[0]]) - 0.5
    return ((landmarks < -0.5) | (landmarks > edge)).any(-1)


def _known_boxes(boxes: Tensor) -> Tensor:
    """Boxes (B, 4) that have an area."""
    return boxes.isfinite().all(-1) & (boxes[:, 2:] > 0).all(-1)


def _beyond_box(landmarks: Tensor, boxes: Tensor) -> Tensor:
    """Landmarks (B, 68) outside boxes half again as large as given; none where a box is not known."""
    corner, sides = boxes[:, None, :2], boxes[:, None, 2:]
    out = ((landmarks < corner - sides / 4) | (landmarks > corner + 5 / 4 * sides)).any(-1)
    return out & _known_boxes(boxes)[:, None]


def _other_size(landmarks: Tensor, boxes: Tensor) -> Tensor:
    """Absolute logarithm (B,) of the ratio of the sizes of landmarks' extent and box; 0 where a box is not known."""
    ratio = box_around(landmarks)[:, 2:].clamp_min(1).prod(-1) / boxes[:, 2:].clamp_min(1).prod(-1)
    return torch.where(_known_boxes(boxes), ratio.log().abs() / 2, 0)


def _jump(landmarks: Tensor, others: list[Tensor], shape: RobustFit) -> Tensor:
    """Mean distance (B,) from the nearer one of the neighbouring frames, millimetres; 0 where neither is known."""
    away = torch.stack([torch.linalg.vector_norm(landmarks - other, dim=-1).mean(-1) for other in others])
    nearest = torch.where(away.isfinite(), away, torch.inf).amin(0)
    return torch.where(nearest.isfinite(), nearest / shape.params.scale, 0)


def _doubt(confidence: Tensor, faces: int) -> Tensor:
    """1 minus the confidence (B,), or minus the mean of the landmarks' confidences (B, 68)."""
    if confidence.shape not in ((faces,), (faces, LANDMARKS)):
        expected = f"({faces},) or ({faces}, {LANDMARKS})"
        raise ValueError(f"confidence has shape {tuple(confidence.shape)}; expected {expected}")
    return 1 - (confidence if confidence.ndim == 1 else confidence.mean(-1))
