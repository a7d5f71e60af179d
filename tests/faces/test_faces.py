"""`Faces` and `Face`: length, iteration, slices, devices, arrays and tables."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import clnf_torch


@pytest.fixture(scope="module")
def found(bundle, image, box):
    """Two faces in the first of two images, one in the second."""
    moved = [box[0] + 1, *box[1:]]
    return clnf_torch.detect([image, image], bundle, boxes=[[box, moved], box])


def test_length_iteration_and_single_faces(found):
    assert len(found) == 3
    assert [face.landmarks.shape for face in found] == [(68, 2)] * 3
    torch.testing.assert_close(found[-1].landmarks, found.landmarks[2], rtol=0, atol=0)
    torch.testing.assert_close(found[np.int64(1)].pose, found.pose[1], rtol=0, atol=0)
    assert found[0].points_mm.shape == (68, 3) and found[0].confidence.ndim == 0
    with pytest.raises(IndexError, match="there is no number 3 among 3 faces"):
        found[3]


def test_slices_masks_and_numbers_are_faces_again(found):
    mask = torch.tensor([True, False, True])
    for rows in (mask, mask.numpy(), [0, 2], slice(0, 3, 2), torch.tensor([0, 2])):
        some = found[rows]
        assert isinstance(some, clnf_torch.Faces) and len(some) == 2
        torch.testing.assert_close(some.landmarks, found.landmarks[[0, 2]], rtol=0, atol=0)
        assert some.table.face_id.tolist() == [0, 0] and some.image_index.tolist() == [0, 1]


def test_no_rows_and_rows_from_the_end(found):
    for rows in ([], (), np.zeros(0), torch.zeros(3, dtype=torch.bool), slice(2, 1)):
        none = found[rows]
        assert len(none) == 0 and none.landmarks.shape == (0, 68, 2)
    assert len(found[[]][[]]) == 0
    backwards = found[::-1]
    assert backwards.image_index.tolist() == [1, 0, 0]
    torch.testing.assert_close(backwards.landmarks, found.landmarks.flip(0), rtol=0, atol=0)
    assert found[2:0:-1].table.image == found[[2, 1]].table.image


def test_flags_and_masks_of_another_length_are_refused(found):
    for flag in (True, np.True_, found.success[0]):
        with pytest.raises(TypeError):
            found[flag]
    with pytest.raises(IndexError, match="a mask of 2 values chooses among 3 rows"):
        found[[True, False]]
    with pytest.raises(TypeError, match="expected a number, a slice"):
        found[[0.5]]
    assert found[(True, False, True)].table.image == found.table[::-2].image[::-1]
    assert len(found.table[found.success]) == 3


def test_a_single_fit_says_so_in_a_line(found):
    assert repr(found.fit[0]) == f"FitResult(1 face, 68 landmarks, {found.device})"


def test_parameters_of_a_single_face_have_no_first_dimension(found):
    params = found[1].params
    assert params.scale.shape == () and params.rotation.shape == (3,) and params.local.ndim == 1
    torch.testing.assert_close(params.globals, found.params.globals[1], rtol=0, atol=0)
    torch.testing.assert_close(params.local, found.params.local[1], rtol=0, atol=0)


def test_faces_of_an_image(found):
    assert [len(found.in_image(number)) for number in range(2)] == [2, 1]
    assert found.in_image(-1)[0].image == found.images[1]


def test_properties_are_those_of_the_fit_and_of_the_table(found):
    assert found.success.dtype == torch.bool
    torch.testing.assert_close(found.landmarks, found.fit.landmarks)
    torch.testing.assert_close(found.pose, found.table.pose)
    assert found.gaze is None and found.eye_landmarks is None and found[0].gaze is None
    assert found.params.local.shape[0] == 3


def test_results_can_be_changed_copied_and_pickled(found):
    found.landmarks.clone().add_(1)
    assert not found.landmarks.is_inference()
    again = pickle.loads(pickle.dumps(copy.deepcopy(found)))
    torch.testing.assert_close(again.landmarks, found.landmarks)


def test_devices_and_arrays(found, device):
    there = found.to(device)
    assert there.device.type == there.pose.device.type == there.boxes.device.type == device.type
    assert len(there[there.success]) == 3
    with pytest.raises(ValueError, match=r'to\(torch.float64\): expected a device such as "cpu"'):
        found.to(torch.float64)
    arrays = there.numpy()
    assert arrays["landmarks"].shape == (3, 68, 2) and "gaze" not in arrays
    assert found[0].numpy()["pose"].shape == (6,)
    np.testing.assert_array_equal(there.cpu().landmarks.numpy(), arrays["landmarks"])


def test_a_dataframe_has_the_columns_and_numbers_of_the_csv_file(found, tmp_path):
    pandas = pytest.importorskip("pandas")
    found.save(path := tmp_path / "faces.csv")
    read, own = pandas.read_csv(path), found.to_dataframe()
    pandas.testing.assert_frame_equal(read, own, check_dtype=False, rtol=1e-6)
    assert own["x_3"].tolist() == found.landmarks[:, 3, 0].tolist()
    assert len(found[0].to_dataframe()) == 1


def test_key_points_of_supervision(found):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed: pip install supervision")
    points = found.to_supervision()
    assert isinstance(points, supervision.KeyPoints) and len(points) == 3
    np.testing.assert_array_equal(points.xy, found.landmarks.numpy())
    assert points[1:].data["image"].tolist() == [found.images[0], found.images[1]]


def test_repr_is_one_line(found):
    assert repr(found).startswith("Faces(3 faces in 2 images, confidence 1.00, 68 landmarks, cpu")
    assert repr(found.fit) == f"FitResult(3 faces, 68 landmarks, {found.device})"
    assert repr(found[0]) == f"Face(confidence 1.00 in {found.images[0]}: 68 landmarks, cpu)"


def test_a_name_that_ends_otherwise_is_refused(found, tmp_path):
    with pytest.raises(ValueError, match=r"expected a name that ends with \.csv, \.parquet, \.json"):
        found.save(tmp_path / "faces.xlsx")
