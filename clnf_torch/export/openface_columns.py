"""OpenFace's whole table: every column at its place, also those that a model does not have."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from clnf_torch.export.face_table import Block, FaceTable, columns

# Action units that OpenFace estimates the intensity of, and those that it tells the presence of
INTENSITIES = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
PRESENCES = (*INTENSITIES[:-1], "28", "45")
# Of its models: shape parameters, landmarks of the face, landmarks of both eyes
MODES, LANDMARKS, EYE_LANDMARKS = 34, 68, 56
# Columns that are asked for together, called as OpenFace's options are
GROUPS = ("gaze", "pose", "2Dfp", "3Dfp", "pdmparams", "aus")
HEAD = {"frame", "face_id", "timestamp", "confidence", "success", "face"}
EXTRAS = ("lm_likelihood_0", "image")


@dataclass(frozen=True)
class Unknown:
    """Columns of which nothing is known."""

    names: tuple[str, ...]


def openface_columns(
    table: FaceTable, groups: Collection[str] = GROUPS, *, image_mode: bool = False
) -> list[Block | Unknown]:
    """A table with all of OpenFace's columns in OpenFace's order, where readers find them by name or by position.

    What OpenFace does not have comes last: further shape parameters, likelihoods, names of images.

    Args:
        table: The rows.
        groups: Those of `GROUPS` that are wanted.
        image_mode: See `columns`; without success, of which FaceLandmarkImg has no column.

    Source:
        The CSV files of OpenFace's FeatureExtraction and FaceLandmarkImg, in version 2.2.
    """
    there = {block.names[0]: block for block in columns(table, image_mode=image_mode)}
    if image_mode:
        del there["success"]
    local, further = _split(there.pop("p_0", None))
    there |= {block.names[0]: block for block in local}
    found: list[Block | Unknown] = [block for name, block in there.items() if name in HEAD]
    for names in (names for group, names in _expected() if group in groups):
        found.append(block := there.get(names[0], Unknown(names)))
        if names[0] == "p_0" and len(block.names) < MODES:
            found.append(Unknown(names[len(block.names) :]))
    if "pdmparams" in groups:
        found += further
    return [*found, *(there[name] for name in EXTRAS if name in there)]


def _split(block: Block | None) -> tuple[list[Block], list[Block]]:
    """The shape parameters that OpenFace has columns for, and those beyond."""
    if block is None or isinstance(block.values, tuple):
        return [], []
    parts = [slice(0, MODES), slice(MODES, None)]
    known, beyond = (Block(block.names[part], block.values[:, part], block.decimals) for part in parts)
    return [known], [beyond] if beyond.names else []


def _expected() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The groups and names of the blocks that follow the head, in OpenFace's order."""
    yield "gaze", tuple(f"gaze_{eye}_{axis}" for eye in range(2) for axis in "xyz")
    yield "gaze", ("gaze_angle_x", "gaze_angle_y")
    yield "gaze", _of_points("eye_lmk_", "xy", EYE_LANDMARKS)
    yield "gaze", _of_points("eye_lmk_", "XYZ", EYE_LANDMARKS)
    yield "pose", ("pose_Tx", "pose_Ty", "pose_Tz")
    yield "pose", ("pose_Rx", "pose_Ry", "pose_Rz")
    yield "2Dfp", _of_points("", "xy", LANDMARKS)
    yield "3Dfp", _of_points("", "XYZ", LANDMARKS)
    yield "pdmparams", ("p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty")
    yield "pdmparams", _of_points("", "p", MODES)
    yield "aus", tuple(f"AU{unit}_r" for unit in INTENSITIES)
    yield "aus", tuple(f"AU{unit}_c" for unit in PRESENCES)


def _of_points(prefix: str, axes: str, count: int) -> tuple[str, ...]:
    """Names of all numbers of the first axis, then of the next."""
    return tuple(f"{prefix}{axis}_{number}" for axis in axes for number in range(count))
