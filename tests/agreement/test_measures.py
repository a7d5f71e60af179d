"""3D landmarks, head pose and gaze against OpenFace's, from its fitted parameters and landmarks, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clnf_torch.converters.openface.pdm import convert_pdm
from clnf_torch.export.face_table import FaceTable, columns
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.records import join_rows
from clnf_torch.measures.gaze import EYE_PARTS, gaze_directions
from clnf_torch.measures.head_pose import head_pose, pose_to_line_of_sight
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.measures.measure import measure
from clnf_torch.models.pdm import PDM
from tests.agreement.golden import Golden
from tests.agreement.measure import Agreement

PDMS = {
    "face": "pdms/In-the-wild_aligned_PDM_68.txt",
    "left_eye_28": "model_eye/pdms/pdm_28_l_eye_3D_closed.txt",
    "right_eye_28": "model_eye/pdms/pdm_28_eye_3D_closed.txt",
}
# Distances are hundreds of millimetres: float32 rounds them to 6e-5.
WITHIN_MM = 2e-4
# Both sides solve in float64 and are rounded; solvePnP stops after steps of 1e-7 of the pose.
WITHIN_RAD = 2e-6
# OpenFace meets ray and eyeball in float32, in squared millimetres: they round to 0.06 of about 100.
WITHIN_GAZE = 1e-4


class Fits:
    """OpenFace's fits as the rows of one batch.

    Args:
        files: Golden files that hold the same parts.
        pdms: OpenFace's shape models.
    """

    def __init__(self, files: list[Golden], pdms: Mapping[str, PDM]) -> None:
        self._files, self._pdms = files, pdms
        camera = self["camera"]
        self.camera = Intrinsics(camera[:, :2], camera[:, 2:])

    def __len__(self) -> int:
        """Number of fits."""
        return len(self._files)

    def __getitem__(self, key: str) -> Tensor:
        """A value of every fit."""
        return torch.cat([file[key] for file in self._files])

    def shape(self, part: str) -> FittedShape:
        """The face, or a part of it."""
        files = [file if part == "face" else file.below(part) for file in self._files]
        params = join_rows(*(file.params("params_global", "params_local") for file in files))
        return FittedShape(self._pdms[part], params, torch.cat([file.points("landmarks") for file in files]))

    def points(self, part: str) -> Tensor:
        """OpenFace's 3D landmarks of it, shape (C, N, 3)."""
        return self["shape3d" if part == "face" else f"{part}/shape3d"].mT

    @property
    def gaze(self) -> Tensor:
        """OpenFace's gaze, shape (C, 2, 3)."""
        return torch.stack((self["gaze_left"], self["gaze_right"]), dim=1)

    def alone(self, row: int) -> Fits:
        """A batch of one of them."""
        return Fits(self._files[row : row + 1], self._pdms)


@pytest.fixture(scope="module")
def free_fits(golden_dir: Path, golden: Callable[[str], Golden]) -> Fits:
    """Fits of the free model, which is always there."""
    pdms = {"face": PDM(**convert_pdm(golden_dir / "free_model" / "pdm.txt")).float()}
    return Fits([golden("fit"), golden("fit_weighted")], pdms)


@pytest.fixture(scope="module")
def fits(shared: Path, openface_models: Path, golden: Callable[[str], Golden]) -> Fits:
    """Every fit of OpenFace."""
    pdms = {name: PDM(**convert_pdm(openface_models / path)).float() for name, path in PDMS.items()}
    return Fits([golden(path.stem) for path in sorted((shared / "golden").glob("fit_*.npz"))], pdms)


def test_the_free_model(free_fits: Fits, agree: Agreement):
    face, camera, theirs = free_fits.shape("face"), free_fits.camera, free_fits["pose"]
    pose = head_pose(face, camera)
    turned = pose_to_line_of_sight(pose).rotation
    agree.absolute("measures: 3D landmarks, mm", landmarks_3d(face, camera), free_fits.points("face"), within=WITHIN_MM)
    agree.absolute("measures: head position, mm", pose.translation, theirs[:, :3], within=WITHIN_MM)
    agree.absolute("measures: pose, rad", pose.rotation, theirs[:, 3:], within=WITHIN_RAD)
    agree.absolute("measures: pose_wrt_camera, rad", turned, free_fits["pose_wrt_camera"][:, 3:], within=WITHIN_RAD)


@pytest.mark.parametrize("part", ["face", *EYE_PARTS])
def test_landmarks_3d(fits: Fits, agree: Agreement, part):
    ours = landmarks_3d(fits.shape(part), fits.camera)
    agree.absolute("measures: 3D landmarks, mm", ours, fits.points(part), within=WITHIN_MM)


@pytest.mark.parametrize("numerics", ["openface", "exact"])
def test_head_pose(fits: Fits, agree: Agreement, numerics):
    pose = head_pose(fits.shape("face"), fits.camera, numerics)
    for key, ours in {"pose": pose, "pose_wrt_camera": pose_to_line_of_sight(pose)}.items():
        theirs = fits[key]
        agree.absolute("measures: head position, mm", ours.translation, theirs[:, :3], within=WITHIN_MM)
        agree.absolute(f"measures: {key}, rad", ours.rotation, theirs[:, 3:], within=WITHIN_RAD)


def test_gaze(fits: Fits, agree: Agreement):
    ours = measure(fits.shape("face"), {name: fits.shape(name) for name in EYE_PARTS}, fits.camera).eyes
    agree.absolute("measures: gaze", ours.gaze, fits.gaze, within=WITHIN_GAZE)
    agree.absolute("measures: gaze angles, rad", ours.gaze_angle, fits["gaze_angle"], within=WITHIN_GAZE)


def test_gaze_from_openfaces_points_and_pose(fits: Fits, agree: Agreement):
    eyes = torch.stack([fits.points(part) for part in EYE_PARTS], dim=1)
    ours = gaze_directions(fits.points("face"), eyes, fits["pose"][:, 3:])
    agree.absolute("measures: gaze from OpenFace's points", ours, fits.gaze, within=WITHIN_GAZE)


def test_a_fit_alone_has_the_same_pose(fits: Fits):
    together = head_pose(fits.shape("face"), fits.camera).values
    for row in range(0, len(fits), 5):
        one = fits.alone(row)
        alone = head_pose(one.shape("face"), one.camera).values
        torch.testing.assert_close(together[row : row + 1], alone, rtol=3e-7, atol=1e-7)


def test_openfaces_values_stand_in_its_columns(fits: Fits):
    face, eyes = fits.shape("face"), {name: fits.shape(name) for name in EYE_PARTS}
    frame = torch.arange(1, len(fits) + 1)
    table = FaceTable.of(
        frame=frame, face_id=0 * frame, timestamp=frame / 30, confidence=fits["detection_certainty"].flatten(),
        success=frame > 0, landmarks=face.landmarks, params=face.params, measures=measure(face, eyes, fits.camera),
    )  # fmt: skip
    blocks = columns(table)
    ours = torch.cat([block.values.double() for block in blocks], dim=1)
    names = [name for block in blocks for name in block.names]
    theirs = {
        "gaze_0_": fits["gaze_left"], "gaze_1_": fits["gaze_right"], "gaze_angle_": fits["gaze_angle"],
        "pose_T": fits["pose"][:, :3], "pose_R": fits["pose"][:, 3:], "x_": fits["landmarks"][:, :68],
        "y_": fits["landmarks"][:, 68:], "X_": fits["shape3d"][:, 0], "Y_": fits["shape3d"][:, 1],
        "Z_": fits["shape3d"][:, 2], "p_s": fits["params_global"][:, :1], "p_r": fits["params_global"][:, 1:4],
        "p_t": fits["params_global"][:, 4:], **{f"p_{i}": fits["params_local"][:, i, None] for i in range(10, 34)},
    }  # fmt: skip
    for i, axis in enumerate("xy"):
        theirs[f"eye_lmk_{axis}_"] = torch.cat(
            [fits[f"{eye}/landmarks"].unflatten(1, (2, 28))[:, i] for eye in eyes], 1
        )
    for i, axis in enumerate("XYZ"):
        theirs[f"eye_lmk_{axis}_"] = torch.cat([fits.points(eye)[..., i] for eye in eyes], 1)
    assert len(names) == 679
    for prefix, values in theirs.items():
        found = [number for number, name in enumerate(names) if name.startswith(prefix)]
        torch.testing.assert_close(ours[:, found], values.double(), rtol=1e-6, atol=2e-4, msg=lambda m, p=prefix: p + m)
