import numpy as np
import pytest
import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.media.images import read_image
from clnf_torch.training.data.annotations import AnnotationError
from clnf_torch.training.evaluation.metrics import face_errors
from clnf_torch.training.free.templates import NUM_POINTS, landmarks_of_templates, read_templates

# Points of a template and their partners on the other side of the face; the others that landmarks use have none
PARTNERS = (
    (18, 27), (19, 26), (20, 25), (21, 24), (22, 23), (28, 33), (29, 32), (30, 31),
    (71, 82), (72, 81), (73, 80), (74, 79), (75, 78),
    (50, 56), (51, 57), (54, 60), (64, 69), (170, 172),
    (87, 93), (88, 92), (89, 91), (94, 98), (95, 97), (99, 103), (100, 102), (104, 108), (105, 107),
    (109, 112), (110, 113), (111, 114), (125, 133), (126, 132), (127, 131), (128, 130),
)  # fmt: skip
IN_THE_MIDDLE = (55, 90, 96, 101, 106, 129)


def some_points(faces: int = 3) -> Tensor:
    return torch.rand(faces, NUM_POINTS, 2, generator=torch.Generator().manual_seed(0)) * 100


def test_landmarks_move_with_the_points() -> None:
    points = some_points()
    turned = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    moved = landmarks_of_templates(2 * points @ turned + 5)
    torch.testing.assert_close(moved, 2 * landmarks_of_templates(points) @ turned + 5, rtol=0, atol=1e-3)
    assert moved.isfinite().all()


def test_each_face_is_on_its_own() -> None:
    points = some_points()
    torch.testing.assert_close(landmarks_of_templates(points)[1:2], landmarks_of_templates(points[1:2]))


def test_landmarks_of_a_mirrored_face_are_mirrored() -> None:
    points, mirrored = some_points(), some_points() * torch.tensor([-1.0, 1])
    for left, right in PARTNERS:
        mirrored[:, [left, right]] = mirrored[:, [right, left]]
    expected = landmarks_of_templates(points)[:, list(MIRROR)] * torch.tensor([-1.0, 1])
    torch.testing.assert_close(landmarks_of_templates(mirrored), expected, rtol=0, atol=1e-3)


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
        (
            {"names": np.array(["one"]), "points": np.full((1, 189, 2), np.nan, np.float32)},
            "points of 'one' are not all finite",
        ),
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
    for image, landmarks in list(zip(found.images, found.landmarks, strict=True))[::10]:
        height, width = read_image(image).shape[1:]
        assert (landmarks >= 0).all() and (landmarks < torch.tensor([width, height])).all()
    # The nose's base bends down on 88 of 100; it does not where a head is raised
    assert (found.landmarks[:, 33, 1] > found.landmarks[:, [31, 35], 1].mean(1)).float().mean() > 0.8
    # Jaws are wider below the ears on some
    assert (found.landmarks[:, 3:14, 0] > found.landmarks[:, 2:13, 0]).all()
