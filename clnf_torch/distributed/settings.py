"""What decides the rows of a job, of images or of videos, and the models that follow from it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from clnf_torch.detection import FaceDetector
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.media.boxes import Box
from clnf_torch.pen_marks import PenMarkEraser, load_pen_mark_eraser
from clnf_torch.pipeline import LandmarkDetector, load, load_face_detector_for


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Settings that images and videos share.

    Attributes:
        preset: "default" or "wild".
        numerics: "openface" or "exact"; None: as the bundle says.
        precision: Of products in the patch experts: "float32", "tf32" or "bf16".
        likelihoods: Add each landmark's likelihood to the tables.
        fx: Focal length of the camera, pixels; None: OpenFace's guess; so for the next three.
        fy: Vertical focal length.
        cx: Principal point.
        cy: Principal point.
        erase_marks: Take pen marks away from faces first.
        box: Bounding box of the face in every image, or in a video's first frame, x, y, width, height in pixels; None:
            faces are detected.
    """

    preset: str = "default"
    numerics: str | None = None
    precision: str = "float32"
    likelihoods: bool = False
    erase_marks: bool = False
    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    box: Box | None = None

    # Settings that change no row
    PRACTICAL: ClassVar[frozenset[str]] = frozenset({"batch", "save_every"})

    def decisive(self) -> dict[str, Any]:
        """The settings that change rows; later ones where they do, so that earlier jobs go on."""
        later = set() if self.erase_marks else {"erase_marks"}
        return {name: value for name, value in asdict(self).items() if name not in self.PRACTICAL | later}

    def camera(self, width: int, height: int) -> Intrinsics:
        """The camera of images of a size, pixels."""
        return Intrinsics.known(width, height, self.fx, self.fy, self.cx, self.cy)

    def needs_boxes(self) -> bool:
        """Whether faces are detected."""
        return self.box is None

    def models(
        self, model: Path | None, device: str, threads: int | None
    ) -> tuple[LandmarkDetector, FaceDetector | None]:
        """The landmark detector of a process that works on this job, and its face detector if it needs one.

        Args:
            model: The bundle; None: the one that is installed.
            device: Where to compute.
            threads: Threads of the processor, set for the whole process; None: as torch has it.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        detector = load(model, device, numerics=self.numerics, precision=self.precision)
        return detector, load_face_detector_for(detector, model) if self.needs_boxes() else None

    def eraser(self, device: str) -> PenMarkEraser | None:
        """The eraser of pen marks of a process that works on this job, if it needs one."""
        return load_pen_mark_eraser(device=device) if self.erase_marks else None
