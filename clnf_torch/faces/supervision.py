"""Faces for the supervision package, which draws, filters and tracks what many detectors find."""

from typing import Any

import numpy as np

from clnf_torch.faces.record import FaceRecord


def key_points(record: FaceRecord) -> Any:
    """Faces as ``supervision.KeyPoints``.

    Args:
        record: R faces.

    Returns:
        Landmarks (R, N, 2), those that can be seen, the confidence of each face, and in ``data`` its number, frame and
        time, or the name of its image.

    Raises:
        RuntimeError: supervision is not installed, or is too old.
    """
    try:
        import supervision
    except ImportError as error:
        raise RuntimeError("KeyPoints need supervision; install it with: pip install 'supervision>=0.29'") from error
    fit, table = record.fit, record.table.to("cpu")
    places = {"face_id": table.face_id, "frame": table.frame, "timestamp": table.timestamp}
    data: dict[str, Any] = {name: values.numpy() for name, values in places.items()}
    if table.image is not None:
        data["image"] = np.array(table.image, dtype=str)
    try:
        return supervision.KeyPoints(
            xy=fit.landmarks.detach().float().cpu().numpy(),
            class_id=np.zeros(len(table), dtype=int),
            detection_confidence=table.confidence.detach().float().numpy(),
            visible=fit.visible.cpu().numpy(),
            data=data,
        )
    except TypeError as error:
        raise RuntimeError("KeyPoints need supervision 0.29 or newer: pip install -U supervision") from error
