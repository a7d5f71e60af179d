"""Distances and angles of faces that clinicians use, in millimetres and degrees."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from clnf_torch.geometry.constants import constant, select_landmarks
from clnf_torch.geometry.landmarks68 import (
    ALAE,
    BROW_ARCHES,
    BROWS,
    EYE_CORNERS,
    EYELIDS,
    EYES,
    INNER_EYE_CORNERS,
    INNER_LIPS,
    LOWER_LIP,
    MIRROR,
    MOUTH,
    MOUTH_CORNERS,
    NOSE_BASE,
    NUM_LANDMARKS,
    OUTER_EYE_CORNERS,
    UPPER_LIP,
)
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.records import loadable
from clnf_torch.geometry.rotation import angle_of, euler_to_matrix
from clnf_torch.measures.gaze import eye_middles
from clnf_torch.measures.head_pose import HeadPose

ANGLES = frozenset(("smile_angle_image_left", "smile_angle_image_right", "mouth_tilt"))
"""Fields of `FaceMeasures` that are degrees; all others are millimetres."""


@loadable
@dataclass(frozen=True, kw_only=True)
class FaceMeasures:
    """Distances (millimetres) and angles (degrees) of B faces, each of shape (B,).

    *Left and right are those of the image.* Where the image is not mirrored, the side on the left of the image is the
    person's right one. Numbers in brackets are points of the iBUG-68 scheme, of the side on the left and of the other.
    All are measured on the face as it is seen from the front, in the axes of `level_face`: *across* the face along the
    corners of its eyes, and *down* it. The *midline* is across = 0, halfway between the eyes. Differences are right
    minus left: they change their sign where the image is mirrored.

    Attributes:
        outer_canthal_distance: Between the outer corners of the eyes (36, 45): what a calibration compares.
        inner_canthal_distance: Between their inner corners (39, 42).
        palpebral_fissure_height_image_left: Mean distance of the upper from the lower lid (37-41, 38-40; 43-47, 44-46).
            Emotrics measures it at the pupil.
        palpebral_fissure_height_image_right: The same of the other eye.
        palpebral_fissure_width_image_left: Between both corners of an eye (36-39; 42-45).
        palpebral_fissure_width_image_right: The same of the other eye.
        brow_height_image_left: How far the arch of a brow (mean of 18, 19, 20; 23, 24, 25) is above the mean of both
            corners of its eye, along *down*. Emotrics measures from the line between the pupils.
        brow_height_image_right: The same of the other brow.
        mouth_width: Between both corners of the mouth (48, 54).
        mouth_opening: Between both lips' inner edges in the middle (62, 66). Emotrics: dental show.
        commissure_distance_image_left: From the middle of the lower lip's outer edge (57) to a corner of the mouth
            (48; 54). FACE-gram and Emotrics call this the commissure excursion, and compare it between two images.
        commissure_distance_image_right: The same of the other corner.
        commissure_excursion_image_left: How far a corner of the mouth is from where it is at rest; NaN without a
            face at rest. Also called lip or smile excursion.
        commissure_excursion_image_right: The same of the other corner.
        smile_angle_image_left: At the middle of the lower lip (57), between up and the corner of the mouth: 90 where
            the corner is level with it, less where it is higher.
        smile_angle_image_right: The same of the other corner.
        nasolabial_distance_image_left: From the ala of the nose (31; 35) to the corner of the mouth; smiling shortens
            it. The fold itself has no landmark.
        nasolabial_distance_image_right: The same of the other side.
        philtrum_length: From the base of the nose (33) to the upper lip (51).
        philtrum_deviation: Of the middle of the upper lip's outer edge (51) from the midline; positive: to the right.
        commissure_height_difference: How far the right corner of the mouth is below the left one.
        commissure_lateral_difference: How much farther the right corner is from the midline than the left one.
        mouth_tilt: Angle of the line between both corners against that of the eyes; positive: the right one is lower.
        palpebral_fissure_difference: Height of the right one minus that of the left one.
        brow_height_difference: Height of the right brow minus that of the left one.
        mouth_asymmetry: Mean distance of the mouth's 20 points, mirrored at the midline, from their partners.
        eye_asymmetry: The same of the eyes' 12 points.
        brow_asymmetry: The same of the brows' 10 points.

    Source:
        Emotrics: Guarin et al., "A machine learning approach for automated facial measurements in facial palsy", JAMA
        Facial Plastic Surgery 2018. FACE-gram: Hadlock and Urban, "Toward a universal, automated facial measurement
        tool in facial reanimation", Archives of Facial Plastic Surgery 2012. Which parts are compared at rest and in
        movement: Ross et al., the Sunnybrook "facial grading system", Otolaryngology 1996.
    """

    outer_canthal_distance: Tensor
    inner_canthal_distance: Tensor
    palpebral_fissure_height_image_left: Tensor
    palpebral_fissure_height_image_right: Tensor
    palpebral_fissure_width_image_left: Tensor
    palpebral_fissure_width_image_right: Tensor
    brow_height_image_left: Tensor
    brow_height_image_right: Tensor
    mouth_width: Tensor
    mouth_opening: Tensor
    commissure_distance_image_left: Tensor
    commissure_distance_image_right: Tensor
    commissure_excursion_image_left: Tensor
    commissure_excursion_image_right: Tensor
    smile_angle_image_left: Tensor
    smile_angle_image_right: Tensor
    nasolabial_distance_image_left: Tensor
    nasolabial_distance_image_right: Tensor
    philtrum_length: Tensor
    philtrum_deviation: Tensor
    commissure_height_difference: Tensor
    commissure_lateral_difference: Tensor
    mouth_tilt: Tensor
    palpebral_fissure_difference: Tensor
    brow_height_difference: Tensor
    mouth_asymmetry: Tensor
    eye_asymmetry: Tensor
    brow_asymmetry: Tensor

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Names of the fields with their units, ``_mm`` or ``_deg``, in the order of `values`."""
        return tuple(f"{field.name}_{'deg' if field.name in ANGLES else 'mm'}" for field in fields(cls))

    @property
    def values(self) -> Tensor:
        """All measures, shape (B, C), in the order of `columns`."""
        return torch.stack([getattr(self, field.name) for field in fields(self)], dim=-1)


@in_own_precision
def points_in_head(points: Tensor, pose: HeadPose) -> Tensor:
    """Points in the head's own axes: across the face, down it, and into it.

    Args:
        points: In camera space, millimetres, shape (B, N, 3).
        pose: Of the heads, B rows.

    Returns:
        The points as seen from a head that looks into the camera, millimetres, shape (B, N, 3).
    """
    return (points - pose.translation[:, None]) @ euler_to_matrix(pose.rotation)


@in_own_precision
def level_face(points: Tensor) -> Tensor:
    """Faces as seen from the front, in axes that no movement of mouth or brows turns.

    The origin is the mean of the four corners of the eyes, the first axis goes from those of the left eye to those of
    the right one, the second one down the face. Depth is left out: it is the shape model's alone, and where a face is
    off the image's centre it is skewed, since it was added along the camera's axis (see `landmarks_3d`).

    Args:
        points: 68 points in the head's axes (see `points_in_head`), millimetres, shape (B, 68, 3).

    Returns:
        Points, millimetres, shape (B, 68, 2); NaN in rows whose eyes have no corners, or both at the same place.
    """
    flat = points[..., :2]
    left, right = eye_middles(flat).unbind(1)
    across = right - left
    across = across / _norm(across)[:, None]
    down = torch.stack((-across[:, 1], across[:, 0]), dim=-1)
    return (flat - (left + right)[:, None] / 2) @ torch.stack((across, down), dim=-1)


@in_own_precision
def face_measures(points: Tensor, rest: Tensor | None = None) -> FaceMeasures:
    """Measures faces.

    Millimetres are those of the shape model, which knows the proportions of a face but not its size:
    `outer_canthal_distance` is to be compared with that of the person, and all distances are off by the same factor.

    Args:
        points: 68 points in the head's axes (see `points_in_head`), millimetres, shape (B, 68, 3).
        rest: The same faces at rest, or one for all, shape (B or 1, 68, 3).

    Returns:
        One row per face; NaN where the points that it needs are not finite.

    Raises:
        ValueError: Points have another shape.
    """
    _require_points(points, "points")
    level, nowhere = level_face(points), torch.full_like(points[:, :2, 0], torch.nan)
    if rest is not None:
        _require_points(rest, "rest", rows=(1, len(points)))
    # (B, 2): the side on the left of the image, and the other one
    sides = {
        "palpebral_fissure_height": _lengths(select_landmarks(level, EYELIDS)).view(-1, 2, 2).mean(-1),
        "palpebral_fissure_width": _lengths(select_landmarks(level, EYE_CORNERS)),
        "brow_height": (select_landmarks(level, EYE_CORNERS).mean(2) - select_landmarks(level, BROW_ARCHES).mean(2))[
            ..., 1
        ],
        "commissure_distance": _norm(select_landmarks(level, MOUTH_CORNERS) - level[:, LOWER_LIP, None]),
        "commissure_excursion": nowhere if rest is None else _excursion(level, level_face(rest)),
        "smile_angle": _smile_angles(level),
        "nasolabial_distance": _norm(select_landmarks(level, MOUTH_CORNERS) - select_landmarks(level, ALAE)),
    }
    by_name = {
        f"{name}_image_{side}": value
        for name, both in sides.items()
        for side, value in zip(("left", "right"), both.unbind(-1), strict=True)
    }
    return FaceMeasures(**by_name, **_of_the_middle(level), **_differences(level, sides))


def _of_the_middle(level: Tensor) -> dict[str, Tensor]:
    """Measures (B,) that have no side, of level points (B, 68, 2)."""
    base, lip = level[:, NOSE_BASE], level[:, UPPER_LIP]
    return {
        "outer_canthal_distance": _lengths(select_landmarks(level, OUTER_EYE_CORNERS)),
        "inner_canthal_distance": _lengths(select_landmarks(level, INNER_EYE_CORNERS)),
        "mouth_width": _lengths(select_landmarks(level, MOUTH_CORNERS)),
        "mouth_opening": _lengths(select_landmarks(level, INNER_LIPS)),
        "philtrum_length": _norm(lip - base),
        "philtrum_deviation": lip[:, 0],
    }


def _differences(level: Tensor, sides: dict[str, Tensor]) -> dict[str, Tensor]:
    """What differs (B,) between both sides of level points (B, 68, 2)."""
    left, right = select_landmarks(level, MOUTH_CORNERS).unbind(1)
    line = right - left
    return {
        "commissure_height_difference": line[:, 1],
        # The left one is at a negative place
        "commissure_lateral_difference": right[:, 0] + left[:, 0],
        "mouth_tilt": torch.rad2deg(angle_of(line[:, 1], line[:, 0])),
        "palpebral_fissure_difference": sides["palpebral_fissure_height"].diff(dim=-1)[:, 0],
        "brow_height_difference": sides["brow_height"].diff(dim=-1)[:, 0],
        "mouth_asymmetry": _asymmetry(level, MOUTH),
        "eye_asymmetry": _asymmetry(level, EYES),
        "brow_asymmetry": _asymmetry(level, BROWS),
    }


def _excursion(level: Tensor, rest: Tensor) -> Tensor:
    """Distances (B, 2) of the corners of the mouth from where they are at rest."""
    return _norm(select_landmarks(level, MOUTH_CORNERS) - select_landmarks(rest, MOUTH_CORNERS))


def _smile_angles(level: Tensor) -> Tensor:
    """Angles (B, 2) at the lower lip between up and the corners of the mouth, seen from the front."""
    across, down = (select_landmarks(level, MOUTH_CORNERS) - level[:, LOWER_LIP, None]).unbind(-1)
    outward = torch.stack((-across[:, 0], across[:, 1]), dim=-1)
    return torch.rad2deg(angle_of(outward, -down))


def _asymmetry(level: Tensor, part: slice) -> Tensor:
    """Mean distance (B,) of a part's points, mirrored at the midline, from their partners."""
    partners = select_landmarks(level, MIRROR[part]) * constant((-1.0, 1.0), level)
    return _norm(partners - level[:, part]).mean(-1)


def _lengths(pairs: Tensor) -> Tensor:
    """Distances (...) between two points (..., 2, 2)."""
    return _norm(pairs[..., 1, :] - pairs[..., 0, :])


def _norm(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1)


def _require_points(points: Tensor, name: str, rows: tuple[int, ...] = ()) -> None:
    """Refuses what are not 68 points in space, or of another number of rows."""
    right = points.ndim == 3 and points.shape[1:] == (NUM_LANDMARKS, 3) and (not rows or len(points) in rows)
    if not right:
        count = " or ".join(map(str, rows)) or "B"
        raise ValueError(f"{name} has shape {tuple(points.shape)}; expected ({count}, 68, 3), millimetres in the head")
