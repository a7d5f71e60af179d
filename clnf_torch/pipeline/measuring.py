"""What is measured of fitted faces, from the result of a fit and the detector that made it."""

from clnf_torch.geometry.camera import Intrinsics, check_camera
from clnf_torch.measures.landmarks_3d import FittedShape
from clnf_torch.measures.measure import Measures, measure
from clnf_torch.pipeline.detector import LandmarkDetector
from clnf_torch.pipeline.result import FitResult


def measure_faces(faces: FitResult, detector: LandmarkDetector, camera: Intrinsics) -> Measures:
    """3D landmarks, head pose and gaze of fitted faces.

    Args:
        faces: B of them.
        detector: What fitted them.
        camera: What took the images, one camera for all faces or one per face.

    Returns:
        One row per face.

    Raises:
        ValueError: The camera is none.
    """
    camera = check_camera(camera)
    model = detector.model
    parts = [(part, faces.parts[part.name]) for part in model.parts if part.name in faces.parts]
    return measure(
        FittedShape(model.pdm, faces.params, faces.landmarks, depth=model.depth_shape),
        {part.name: FittedShape(part.model.pdm, fit.params, fit.landmarks) for part, fit in parts},
        camera,
        detector.numerics,
        faces.gaze,
    )
