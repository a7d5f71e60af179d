"""A researcher with a GPU and a folder of photographs: from the first call to batches on a card, and to gradients.

Each test is what such a person types first, from the top to the bottom; on a machine without a card the device is the
processor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import clnf_torch

PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "astronaut.jpg"


@pytest.fixture(scope="module")
def where() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def faces(where) -> clnf_torch.Faces:
    """The first line: a photograph's path, and a device."""
    return clnf_torch.detect(PHOTO, device=where)


def test_the_first_line_says_what_was_found(faces, where):
    assert repr(faces).startswith("Faces(1 face in 1 image, confidence 0.9")
    assert faces.landmarks.shape == (1, 68, 2) and faces.landmarks.device.type == where
    assert faces[0].landmarks.shape == (68, 2) and bool(faces[0].success)


def test_images_that_a_data_loader_gives(faces, where):
    """Arrays, tensors and images of Pillow's, of different sizes, some of them broken, in one list."""
    photo = np.asarray(pytest.importorskip("PIL.Image").open(PHOTO))
    images = [photo, torch.from_numpy(photo.copy()).permute(2, 0, 1).to(where), photo[:400], None, "missing.jpg"]
    found = clnf_torch.detect(images, device=where)
    assert found.image_index.tolist() == [0, 1, 2]
    assert [problem.image for problem in found.problems] == ["images[3]", "missing.jpg"]
    torch.testing.assert_close(found.in_image(0).landmarks, faces.landmarks)


def test_results_go_on_as_arrays_and_tables(faces, tmp_path):
    assert faces.numpy()["points_mm"].shape == (1, 68, 3)
    table = pytest.importorskip("pandas") and faces.to_dataframe()
    assert table["pose_Tz"][0] > 300 and len(table) == 1
    faces.cpu().save(tmp_path / "faces.parquet") if pytest.importorskip("pyarrow") else None
    assert (tmp_path / "faces.parquet").stat().st_size > 0


def test_boxes_of_another_detector(faces, where):
    """Most detectors give corners; taken for sizes they are warned of."""
    detector = clnf_torch.load(device=where)
    frames = faces.sources[0].pixels()[None]
    corners = torch.cat((faces.boxes[:, :2], faces.boxes[:, :2] + faces.boxes[:, 2:]), 1)
    if where == "cpu":
        with pytest.warns(UserWarning, match="give box_format"):
            detector.fit(frames[..., :350], corners)
    result = detector.fit(frames, corners, box_format="xyxy")
    torch.testing.assert_close(result.landmarks, faces.landmarks, rtol=0, atol=1e-3)


def test_a_batch_of_many_faces(faces, where):
    """One call, whatever the number of faces; a bad box is a row without success."""
    detector = clnf_torch.load(device=where)
    frames = faces.sources[0].pixels()[None].expand(3, -1, -1, -1)
    boxes = faces.boxes.float().repeat(3, 1)
    boxes[1] = torch.nan
    result = detector(frames, boxes, torch.arange(3))
    assert result.success.tolist() == [True, False, True]
    torch.testing.assert_close(result.landmarks[2], result.landmarks[0])


def test_short_number_types_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r'precision="bf16"'):
        clnf_torch.load(dtype=torch.bfloat16)
    assert clnf_torch.load(precision="bf16").precision == "bf16"


def test_gradients_flow_to_the_image(faces, where):
    detector = clnf_torch.load(device=where, numerics="exact")
    frames = faces.sources[0].pixels()[None].float().to(where).requires_grad_()
    detector.fit(frames, faces.boxes).landmarks[:, 30].sum().backward()
    assert frames.grad is not None and frames.grad.abs().sum() > 0


def test_help_describes_every_field():
    assert "landmarks: Pixels" in clnf_torch.FitResult.__doc__
    assert clnf_torch.Faces.landmarks.__doc__.startswith("Pixels")
