import numpy as np
import pytest
import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.training.data.annotations import AnnotationError
from clnf_torch.training.free.templates import NUM_POINTS, along, landmarks_of_templates, read_templates
from clnf_torch.training.metrics import face_errors


def some_points(faces: int = 3) -> Tensor:
    return torch.rand(faces, NUM_POINTS, 2, generator=torch.Generator().manual_seed(0)) * 100


def test_equal_distances_along_a_bent_line() -> None:
    line = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]]])
    found = along(line, torch.linspace(0, 1, 5))
    torch.testing.assert_close(found[0], torch.tensor([[0.0, 0], [1, 0], [1, 1], [1, 2], [1, 3]]))


def test_points_may_lie_on_each_other() -> None:
    assert along(torch.zeros(2, 4, 2), torch.linspace(0, 1, 3)).isfinite().all()


def test_landmarks_move_with_the_points() -> None:
    points = some_points()
    turned = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    moved = landmarks_of_templates(2 * points @ turned + 5)
    torch.testing.assert_close(moved, 2 * landmarks_of_templates(points) @ turned + 5, rtol=0, atol=1e-3)
    assert moved.isfinite().all()


def test_each_face_is_on_its_own() -> None:
    points = some_points()
    torch.testing.assert_close(landmarks_of_templates(points)[1:2], landmarks_of_templates(points[1:2]))


def test_reads_photographs_with_their_landmarks(tmp_path) -> None:
    points = some_points(2)
    np.savez(tmp_path / "templates.npz", names=np.array(["one", "two"]), points=points.numpy())
    found = read_templates(tmp_path)
    assert found.images == (tmp_path / "one.jpg", tmp_path / "two.jpg")
    torch.testing.assert_close(found.landmarks, landmarks_of_templates(points))


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"points": np.zeros((1, 189, 2), np.float32)}, "names: expected a list of texts, found nothing"),
        ({"names": np.array(["one"])}, r"points: expected floating point numbers \(1, 189, 2\), found nothing"),
        ({"names": np.array(["one"]), "points": np.zeros((1, 68, 2), np.float32)}, r"found float32 of shape"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, arrays, expected) -> None:
    np.savez(tmp_path / "templates.npz", **arrays)
    with pytest.raises(AnnotationError, match=expected):
        read_templates(tmp_path)


def test_landmarks_of_the_london_set_are_those_of_people(shared) -> None:
    found = read_templates(shared / "free" / "london")
    assert len(found) == 152
    assert found.landmarks.isfinite().all()
    # People look into the camera: mirrored about the line between their eyes they look alike
    mirrored = found.landmarks[:, list(MIRROR)] * torch.tensor([-1.0, 1])
    middle = (found.landmarks[:, [36, 45]] - mirrored[:, [36, 45]]).mean(1, keepdim=True)
    errors = face_errors(mirrored + middle, found.landmarks)
    # 0.034 in the median; the worst has turned his head
    assert errors.median() < 0.04
    upper, lower = found.landmarks[:, [37, 38, 43, 44], 1], found.landmarks[:, [41, 40, 47, 46], 1]
    assert (upper < lower).all()
    # Jaws are wider below the ears on some
    assert (found.landmarks[:, 3:14, 0] > found.landmarks[:, 2:13, 0]).all()
