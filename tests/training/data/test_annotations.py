"""Annotated faces from a table and from .pts files, and what is said of bad ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.training.data.annotations import AnnotationError, Annotations, read_annotations, read_pts


def pts_text(points: np.ndarray) -> str:
    """A file as iBUG writes it."""
    lines = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{lines}\n}}\n"


def eyes_together() -> np.ndarray:
    """Three faces, of which the third has both outer eye corners at one point."""
    landmarks = np.random.default_rng(1).uniform(0, 300, (3, 68, 2))
    landmarks[2, 45] = landmarks[2, 36]
    return landmarks


def test_suffixes_may_be_capital(tmp_path, points):
    (tmp_path / "anna.JPG").touch()
    (tmp_path / "anna.PTS").write_text(pts_text(points[0] + 1))
    faces = read_annotations(tmp_path)
    assert faces.images == (tmp_path / "anna.JPG",)
    torch.testing.assert_close(faces.landmarks[0], torch.from_numpy(points[0]), rtol=0, atol=1e-4)


def test_a_file_whose_points_enclose_nothing_is_named(tmp_path):
    (tmp_path / "anna.jpg").touch()
    (tmp_path / "anna.pts").write_text(pts_text(np.ones((68, 2))))
    with pytest.raises(AnnotationError, match=r"anna.pts: expected points that enclose a face"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("names", [[], np.array([], dtype="U1")])
def test_a_table_without_faces_is_named(tmp_path, names):
    write_table(tmp_path, names=names, landmarks=np.zeros((0, 68, 2), np.float32))
    with pytest.raises(
        AnnotationError, match=r"landmarks.npz: names: expected at least one annotated face, found none"
    ):
        read_annotations(tmp_path)


@pytest.fixture
def points() -> np.ndarray:
    """Landmarks of three faces."""
    return np.random.default_rng(0).uniform(0, 300, (3, 68, 2)).astype(np.float32)


def write_table(folder: Path, **arrays: object) -> None:
    np.savez(folder / "landmarks.npz", **{key: np.asarray(value) for key, value in arrays.items()})


def test_a_table_gives_its_rows_in_order(tmp_path, points):
    write_table(tmp_path, names=["b/2.jpg", "a/1.jpg", "b/3.jpg"], landmarks=points, split=["b", "a", "b"])
    faces = read_annotations(tmp_path)
    assert faces.images == (tmp_path / "b/2.jpg", tmp_path / "a/1.jpg", tmp_path / "b/3.jpg")
    assert faces.landmarks.dtype == torch.float32 and np.array_equal(faces.landmarks.numpy(), points)
    assert faces.split == ("b", "a", "b")


def test_a_table_may_name_no_split(tmp_path, points):
    write_table(tmp_path, names=["1.jpg", "2.jpg", "3.jpg"], landmarks=points.astype(np.float64))
    assert read_annotations(tmp_path).split == ("", "", "")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"names": ["1.jpg", "2.jpg"]}, r"landmarks: expected .*\(2, 68, 2\), one row per name, found float32"),
        ({"landmarks": np.zeros((3, 68, 2), int)}, "landmarks: expected floating point .* found int64 of shape"),
        ({"names": [1, 2, 3]}, "names: expected a list of texts, found int64"),
        ({"names": None}, "not allow|Object arrays"),
        ({"split": ["a"]}, "split: expected 3 names, one per face, found 1"),
        ({"landmarks": np.full((3, 68, 2), np.nan)}, "landmarks of '1.jpg' are not all finite"),
        ({"landmarks": np.zeros((3, 68, 2))}, "landmarks of '1.jpg': expected points that enclose a face"),
        ({"landmarks": eyes_together()}, r"landmarks of '3.jpg': .* outer eye corners \(36 and 45\) apart"),
    ],
)
def test_a_bad_table_is_named(tmp_path, points, changes, complaint):
    write_table(tmp_path, **{"names": ["1.jpg", "2.jpg", "3.jpg"], "landmarks": points, **changes})
    with pytest.raises(AnnotationError, match=complaint) as error:
        read_annotations(tmp_path)
    assert str(tmp_path / "landmarks.npz") in str(error.value)


@pytest.mark.parametrize("missing", ["names", "landmarks"])
def test_a_table_without_a_key_is_named(tmp_path, points, missing):
    arrays = {"names": ["1.jpg", "2.jpg", "3.jpg"], "landmarks": points}
    del arrays[missing]
    write_table(tmp_path, **arrays)
    with pytest.raises(AnnotationError, match=f"{missing}: expected .* found nothing"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"some text"])
def test_a_table_that_is_none_is_named(tmp_path, content):
    (tmp_path / "landmarks.npz").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"landmarks\.npz: expected arrays"):
        read_annotations(tmp_path)


def test_a_table_that_unpacks_to_far_more_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "landmarks.npz", names=np.zeros(80 << 20, np.uint8))
    with pytest.raises(AnnotationError, match=r"8388\d+ bytes in a file of \d+; save them with numpy\.savez"):
        read_annotations(tmp_path)


def test_coordinates_that_no_image_has_are_named(tmp_path, points):
    write_table(tmp_path, names=["a", "b", "c"], landmarks=points.astype(np.float64) * 1e300)
    with pytest.raises(AnnotationError, match="landmarks of 'a' are not all finite"):
        read_annotations(tmp_path)
    (tmp_path / "a.pts").write_text(pts_text(np.full((68, 2), 1e39)))
    with pytest.raises(AnnotationError, match="expected two finite numbers"):
        read_pts(tmp_path / "a.pts", 68)


def test_a_line_of_zero_bytes_is_named_in_a_short_line(tmp_path):
    (tmp_path / "a.pts").write_bytes(b"version: 1\n" + bytes(500) + b"\n")
    with pytest.raises(AnnotationError) as error:
        read_pts(tmp_path / "a.pts", 68)
    assert len(str(error.value).replace(str(tmp_path), "")) < 200


def test_every_cut_of_a_table_is_named(tmp_path, points):
    write_table(tmp_path, names=["1.jpg", "2.jpg", "3.jpg"], landmarks=points)
    whole = (tmp_path / "landmarks.npz").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "landmarks.npz").write_bytes(whole[:length])
        with pytest.raises(AnnotationError):
            read_annotations(tmp_path)


def test_pts_files_are_found_below_the_folder_with_their_images(tmp_path, points):
    for name, face in zip(("a/x", "a/sub/y", "z"), points, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.pts").write_text(pts_text(face))
    for name in ("a/x.jpg", "a/sub/y.PNG", "z.png", "z.jpg", "z.txt", "other.jpg"):
        (tmp_path / name).touch()
    faces = read_annotations(tmp_path)
    assert faces.images == (tmp_path / "a/sub/y.PNG", tmp_path / "a/x.jpg", tmp_path / "z.jpg")
    assert faces.split == ("a/sub", "a", "")
    torch.testing.assert_close(faces.landmarks, torch.from_numpy(points[[1, 0, 2]]) - 1, rtol=0, atol=1e-4)


def test_ibug_counts_pixels_from_one(tmp_path):
    (tmp_path / "a.pts").write_text(pts_text(np.ones((68, 2))))
    assert (read_pts(tmp_path / "a.pts", 68) == 0).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\n\n# by hand\n").encode(),
        lambda text: text.replace(".", ",").encode(),
        lambda text: re.sub(r"(\d) (\d)", r"\1, \2", text).encode(),
        lambda text: text.replace("version: 1", "Version:1.0").encode(),
    ],
)
def test_pts_files_of_other_programs_say_the_same(tmp_path, points, change):
    (tmp_path / "a.pts").write_text(pts_text(points[0]))
    expected = read_pts(tmp_path / "a.pts", 68)
    (tmp_path / "a.pts").write_bytes(change(pts_text(points[0])))
    assert torch.equal(read_pts(tmp_path / "a.pts", 68), expected)


def test_hidden_files_of_macos_are_no_annotations(tmp_path, points):
    for name in ("a", "._a"):
        (tmp_path / f"{name}.pts").write_text(pts_text(points[0]))
    (tmp_path / "a.jpg").touch()
    assert [path.name for path in read_annotations(tmp_path).images] == ["a.jpg"]


@pytest.mark.parametrize(
    ("line", "text", "complaint"),
    [
        (0, "verson: 1", "line 1: expected 'version: 1', found 'verson: 1'"),
        (1, "n_points: 66", "line 2: expected 'n_points: 68', found 'n_points: 66'"),
        (2, "1 2", "line 3: expected '{', found '1 2'"),
        (10, "1.5", "line 11: expected two numbers, found '1.5'"),
        (10, "1.5 2 3", "line 11: expected two numbers, found '1.5 2 3'"),
        (10, "1,5,2 2", "line 11: expected two numbers, found '1,5,2 2'"),
        (10, "nan 2", "line 11: expected two finite numbers, found 'nan 2'"),
        (71, "1 2", "line 72: expected '}', found '1 2'"),
        (71, "}\n1 2", "line 73: expected the end of the file, found '1 2'"),
        (71, "", "line 72: expected '}', found the end of the file"),
        (0, "\xff\x00", "line 1: expected 'version: 1'"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, text, complaint):
    lines = pts_text(np.ones((68, 2))).splitlines()
    lines[line] = text
    path = tmp_path / "a.pts"
    path.write_text("\n".join(lines), encoding="latin-1")
    with pytest.raises(AnnotationError) as error:
        read_pts(path, 68)
    assert str(error.value).startswith(f"{path}, {complaint}")


def test_a_pts_file_without_a_image_is_named(tmp_path, points):
    (tmp_path / "a.pts").write_text(pts_text(points[0]))
    with pytest.raises(AnnotationError, match=r"a\.pts: there is no image a\.jpg"):
        read_annotations(tmp_path)


def test_a_folder_without_annotations_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"expected landmarks\.npz, or images with \.pts files, found neither"):
        read_annotations(tmp_path)


@pytest.fixture
def faces(points) -> Annotations:
    """Three faces of two sets."""
    paths = tuple(Path(name) for name in "abc")
    return Annotations(images=paths, landmarks=torch.from_numpy(points), split=("train", "test", "train"))


@pytest.mark.parametrize(
    "rows", [slice(1, 3), [1, 2], torch.tensor([1, 2]), torch.tensor([False, True, True])], ids=repr
)
def test_rows_are_chosen_as_in_tensors(faces, rows):
    some = faces[rows]
    assert len(some) == 2 and some.images == (Path("b"), Path("c")) and some.split == ("test", "train")
    assert torch.equal(some.landmarks, faces.landmarks[1:])


def test_sets_are_chosen_by_name(faces):
    assert faces.of_split("train").images == (Path("a"), Path("c"))
    assert len(faces.of_split("train", "test")) == 3
    with pytest.raises(AnnotationError, match="no split 'val'; the annotations have 'test', 'train'"):
        faces.of_split("train", "val")


def test_the_shared_faces_can_be_read(shared):
    faces = read_annotations(shared / "faces")
    assert len(faces) == 2012 and len(faces.of_split("afw")) == 337
    assert all(path.is_file() for path in faces.images)
