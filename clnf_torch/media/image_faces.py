"""The faces of a batch of images: fitted, measured, and numbered in each image."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from clnf_torch.export.face_rows import FaceRows, face_table
from clnf_torch.export.face_table import FaceTable
from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.media.batches import Batch
from clnf_torch.pen_marks import PenMarkEraser
from clnf_torch.pipeline import FitResult, LandmarkDetector


@dataclass(frozen=True)
class FitOptions:
    """How faces are fitted and measured; see `LandmarkDetector.fit` for preset, multi_view and parts."""

    preset: str | FitConfig
    multi_view: bool | None
    camera: Callable[[int, int], Intrinsics]  # of images of a width and height, pixels
    likelihoods: bool = False
    parts: bool = True
    eraser: PenMarkEraser | None = None  # takes pen marks away first


def fit_batch(detector: LandmarkDetector, batch: Batch, options: FitOptions) -> tuple[FitResult, FaceTable]:
    """Fits the boxes of images of one size.

    Args:
        detector: What fits.
        batch: Images with their boxes.
        options: How.

    Returns:
        The faces, and what was measured of them with the names of their images: a row for each box, in their order.
    """
    frames, boxes, image_index = batch.tensors()
    with torch.inference_mode():
        settings = {"preset": options.preset, "multi_view": options.multi_view, "parts": options.parts}
        if options.eraser is not None:
            frames = options.eraser.erase(frames, boxes, image_index)
        result = detector.fit(frames, boxes, image_index, **settings)
        rows = _numbered(batch, result)
        table = face_table(rows, detector, options.camera(*batch.size), options.likelihoods)
    return result, replace(table, image=tuple(str(job.path) for job in batch.jobs for _ in job.boxes))


def _numbered(batch: Batch, result: FitResult) -> FaceRows:
    """The faces of a batch, numbered in each image."""
    numbers = [number for job in batch.jobs for number in range(len(job.boxes))]
    face_id = torch.tensor(numbers, dtype=torch.int64, device=result.success.device)
    ones = torch.ones_like(face_id)
    return FaceRows(
        faces=result,
        success=result.success,
        frame=ones,
        face_id=face_id,
        timestamp=torch.zeros_like(ones, dtype=torch.float64),
    )
