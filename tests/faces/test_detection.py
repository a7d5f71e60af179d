"""`clnf_torch.detect`: whatever holds images, one call, and a row of problems for what cannot be used."""

from __future__ import annotations

import gc
import json
import re
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch import Faces
from clnf_torch.faces import models
from clnf_torch.faces.sources import as_image
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import default_bundle
from tests.media.videos import FixedBox, write_folder


@pytest.fixture
def model(bundle):
    return clnf_torch.load(bundle)


@pytest.fixture
def folder(image, tmp_path) -> Path:
    """Two images of other sizes, and a file that is none."""
    (place := tmp_path / "images").mkdir()
    shutil.copy(image, place / "1.png")
    write_folder(place / "below", [read_image(image).permute(1, 2, 0).numpy()[:-9, :, ::-1]])
    next((place / "below").iterdir()).rename(place / "2.png")
    (place / "3.png").write_bytes(b"no image")
    return place


def assert_same_faces(found: Faces, other: Faces) -> None:
    torch.testing.assert_close(found.landmarks, other.landmarks, rtol=0, atol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda image: image,
        str,
        lambda image: read_image(image),
        lambda image: read_image(image)[None],
        lambda image: read_image(image).permute(1, 2, 0).numpy(),
        lambda image: read_image(image).permute(1, 2, 0).numpy()[None],
        lambda image: read_image(image).float() / 255,
        lambda image: read_image(image).permute(1, 2, 0).numpy()[::-1, ::-1][::-1, ::-1],
        lambda image: pytest.importorskip("PIL.Image").open(image),
    ],
    ids=["path", "str", "tensor", "batch", "array", "array-batch", "unit-range", "negative-strides", "pillow"],
)
def test_every_kind_of_image_gives_the_same_face(make, model, image, box):
    found = clnf_torch.detect(make(image), model, boxes=box)
    expected = model.fit(read_image(image)[None], torch.tensor([box]))
    torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=0)
    assert len(found) == 1 and found.problems == ()


STACKS = [
    (
        np.zeros((3, 40, 50), np.uint8),
        r"array has shape \(3, 40, 50\); .*\[..., None\] for 3 gray .*transpose\(1, 2, 0\)",
    ),
    (np.zeros((5, 40, 50)), r"array has shape \(5, 40, 50\); .*channels last; give it with \[..., None\] for 5 gray"),
    (torch.zeros(5, 40, 50), r"tensor has shape \(5, 40, 50\); .*channels first; give it with \[:, None\] for 5 gray"),
    (torch.zeros(40, 50, 3), r"tensor has shape \(40, 50, 3\); .*with \.permute\(2, 0, 1\) for RGB"),
    (np.zeros((2, 3, 40, 50)), r"array has shape \(2, 3, 40, 50\); .*with \.transpose\(0, 2, 3, 1\) for RGB"),
    (torch.zeros(2, 40, 50, 3), r"tensor has shape \(2, 40, 50, 3\); .*with \.permute\(0, 3, 1, 2\) for RGB"),
    (torch.zeros(2, 2, 40, 50), r"tensor has shape \(2, 2, 40, 50\); expected an image .*, channels first$"),
    (np.zeros(40), r"array has shape \(40,\); expected an image"),
]


@pytest.mark.parametrize(("images", "message"), STACKS)
def test_images_that_may_be_meant_in_two_ways_are_refused(images, message, model):
    with pytest.raises(ValueError, match=message):
        clnf_torch.detect(images, model, boxes=[])
    if images.ndim == 3:
        (problem,) = clnf_torch.detect([images], model, boxes=[[]]).problems
        assert re.search(message.replace("expected an image .*", ".*"), problem.message)


def test_batches_of_gray_images_have_an_axis_of_one_channel(model, image, box):
    gray = read_image(image)[:1].expand(3, 1, -1, -1)
    found = clnf_torch.detect(gray, model, boxes=[box] * 3)
    assert found.image_index.tolist() == [0, 1, 2]
    assert_same_faces(found, clnf_torch.detect(gray.movedim(1, -1).numpy(), model, boxes=[box] * 3))
    assert_same_faces(found[:1], clnf_torch.detect(gray[0, 0].numpy(), model, boxes=box))


def test_images_of_pillow_are_those_of_their_files(tmp_path):
    """Of sixteen bits, and lying on its side."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed: pip install pillow")
    levels = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    pillow.fromarray(levels).save(deep := tmp_path / "deep.png")
    exif = pillow.Exif()
    exif[0x0112] = 6
    pillow.fromarray((levels >> 8).astype(np.uint8)).save(turned := tmp_path / "turned.png", exif=exif)
    for path in (deep, turned):
        torch.testing.assert_close(as_image(pillow.open(path)), read_image(path), rtol=0, atol=0)
    assert as_image(pillow.open(deep)).unique().numel() > 200
    torch.testing.assert_close(as_image(pillow.fromarray(levels / np.float32(65535))), read_image(deep), rtol=0, atol=1)


def test_a_folder_a_pattern_and_a_list_give_the_same_faces(model, folder, box):
    finder = FixedBox(box)
    found = clnf_torch.detect(folder, model, face_detector=finder)
    assert [Path(name).name for name in found.images] == ["1.png", "2.png", "3.png"]
    assert found.image_index.tolist() == [0, 1]
    assert_same_faces(found, clnf_torch.detect(f"{folder}/*.png", model, face_detector=finder))
    assert_same_faces(found, clnf_torch.detect(sorted(folder.glob("*.png")), model, face_detector=finder))
    assert_same_faces(found, clnf_torch.detect([folder], model, face_detector=finder))


def test_images_in_a_batch_do_not_see_each_other(model, folder, box):
    found = clnf_torch.detect(folder, model, face_detector=FixedBox(box))
    alone = clnf_torch.detect(folder / "2.png", model, face_detector=FixedBox(box))
    torch.testing.assert_close(found.in_image(1).landmarks, alone.landmarks, rtol=0, atol=0)


def test_what_cannot_be_used_is_a_row_of_the_problems(model, folder, image, box):
    sources = [folder / "3.png", None, tmp := folder / "missing.png", np.zeros((4, 4, 2)), image]
    found = clnf_torch.detect(sources, model, boxes=[[], [], [], [], [box, [0, 0, -1, 5], [1, 2]]])
    assert len(found) == 1 and found.image_index.tolist() == [4]
    names = [problem.image for problem in found.problems]
    assert names == [str(folder / "3.png"), "images[1]", str(tmp), "images[3]", str(image), str(image)]
    assert all(len(problem.message) < 300 and "\n" not in problem.message for problem in found.problems)
    assert "both must be above 0" in found.problems[4].message


def test_no_face_at_all(model, image):
    found = clnf_torch.detect(image, model, boxes=[])
    assert len(found) == 0 and found.landmarks.shape == (0, 68, 2) and found.pose.shape == (0, 6)
    assert repr(found) == "Faces(0 faces in 1 image, 68 landmarks, cpu)"


NONE = [[], [[]], (), ([],), np.zeros((0, 4)), torch.zeros(0, 4), torch.zeros(1, 0, 4), [np.zeros((0, 4))]]


@pytest.mark.parametrize("boxes", NONE, ids=str)
def test_no_box_for_a_single_image_is_no_face_however_it_is_said(model, image, boxes):
    found = clnf_torch.detect(image, model, boxes=boxes)
    assert len(found) == 0 and found.problems == ()


@pytest.mark.parametrize("boxes", [[[], []], torch.zeros(2, 0, 4), [[[1, 1, 9, 9]], []]], ids=str)
def test_boxes_of_two_images_are_refused_for_one(model, image, boxes):
    with pytest.raises(ValueError, match=r"^expected boxes for 1 image, found those for 2; "):
        clnf_torch.detect(image, model, boxes=boxes)


def test_boxes_by_corner_by_name_and_by_image(model, image, box):
    x, y, w, h = box
    expected = clnf_torch.detect(image, model, boxes=torch.tensor([box]))
    corners = torch.tensor([x, y, x + w, y + h], dtype=torch.float64)
    assert_same_faces(clnf_torch.detect(image, model, boxes=corners, box_format="xyxy"), expected)
    assert_same_faces(clnf_torch.detect(image, model, boxes={image.name: np.array([box])}), expected)
    twice = clnf_torch.detect([image, image], model, boxes=[torch.tensor([box]), box])
    assert twice.image_index.tolist() == [0, 1]
    torch.testing.assert_close(twice.boxes, torch.tensor([box, box], dtype=torch.float64))


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("missing.png", FileNotFoundError, "missing.png: there is no such file or folder"),
        ("*.nothing", FileNotFoundError, "no file matches this pattern"),
        ("", ValueError, "the source is an empty path; give that of a file or a folder"),
        ("https://example.org/a.png", FileNotFoundError, "is not fetched"),
        (7, TypeError, "the source is of type int; expected a path, a folder"),
        (None, TypeError, "the source is of type NoneType; expected a path"),
        (
            [object()],
            TypeError,
            "item 0 of the list is of type object; expected a path, a folder, a pattern, an image of",
        ),
        ([None, 3], TypeError, "item 1 of the list is of type int"),
        ([[np.zeros((4, 4))]], TypeError, "item 0 of the list is of type list"),
        ((_ for _ in "ab"), TypeError, "a tensor, or a list of them; give a list of it, list(...)"),
        ({}.values(), TypeError, "a tensor, or a list of them; give a list of it, list(...)"),
        ((b"a.png",), TypeError, "item 0 of the list is of type bytes"),
    ],
)
def test_a_source_that_is_none_is_refused_in_a_sentence(source, error, text, model):
    with pytest.raises(error, match=re.escape(text)):
        clnf_torch.detect(source, model, boxes=[0, 0, 1, 1])


def test_an_empty_path_in_a_list_is_a_problem_and_not_the_current_folder(model, folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = clnf_torch.detect(["", "1.png"], model, boxes=[[0, 0, 9, 9]] * 2)
    assert len(found.images) == 2 and len(found.problems) == 1


def test_folders_and_videos_that_are_no_images(model, tmp_path):
    with pytest.raises(ValueError, match="expected images, found a folder without images"):
        clnf_torch.detect(tmp_path, model)
    (video := tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"found a video; give it to clnf_torch\.track"):
        clnf_torch.detect(video, model)


def test_boxes_for_other_images_are_refused(model, image, box):
    with pytest.raises(ValueError, match="expected boxes for 2 images, found those for 3"):
        clnf_torch.detect([image, image], model, boxes=[box, box, box])
    with pytest.raises(ValueError, match="box_format is 'cxcywh'"):
        clnf_torch.detect(image, model, boxes=box, box_format="cxcywh")


def test_a_model_in_memory_is_where_it_is(model, image):
    with pytest.raises(ValueError, match="device, numerics and precision are those of the detector"):
        clnf_torch.detect(image, model, device="cpu")


def test_models_are_loaded_once_until_their_file_changes(bundle, image, box, tmp_path):
    from clnf_torch.faces.models import _kept_model

    shutil.copy(bundle, path := tmp_path / "model.pt")
    before = _kept_model.cache_info().misses
    for _ in range(2):
        clnf_torch.detect(image, path, boxes=box)
    assert _kept_model.cache_info().misses == before + 1
    shutil.copy(bundle, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    clnf_torch.detect(image, path, boxes=box)
    assert _kept_model.cache_info().misses == before + 2


def test_face_detectors_are_made_once_until_their_file_changes(tmp_path):
    def finder(model):
        return models.loaded_models(model, None, None, None, None, find=True).faces

    shutil.copy(default_bundle(), path := tmp_path / "model.pt")
    of_file = finder(path)
    assert finder(path) is of_file
    given = clnf_torch.load(path)
    of_memory = finder(given)
    assert finder(given) is of_memory is not of_file
    # Another face detector in the same landmark detector
    given.origin = {**given.origin, "face_detector": dict(given.origin["face_detector"])}
    assert finder(given) is not of_memory
    shutil.copy(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    assert finder(path) is not of_file
    # Nothing of a landmark detector outlives it
    kept = weakref.ref(finder(given))
    del given, of_memory
    gc.collect()
    assert kept() is None


def test_files_are_those_of_the_command_line(clnf_torch_cli, bundle, folder, image, box, tmp_path):
    shutil.copy(image, folder / "3.png")
    (boxes := tmp_path / "boxes.json").write_text(json.dumps({f"{n}.png": [box, box] for n in (1, 2, 3)}))
    files = {suffix: tmp_path / f"cli.{suffix}" for suffix in ("csv", "json", "parquet")}
    words = [word for suffix, path in files.items() for word in (f"--{suffix}", path)]
    images = sorted(folder.glob("*.png"))
    done = clnf_torch_cli("detect", *images, "--model", bundle, "--boxes", boxes, *words)
    assert done.exit_code == 0, done.stderr
    found = clnf_torch.detect(folder, bundle, boxes=json.loads(boxes.read_text()))
    for suffix, path in files.items():
        found.save(own := tmp_path / f"own.{suffix}")
        assert own.read_bytes() == path.read_bytes(), suffix
    found.save(own := tmp_path / "rounded.csv", openface_precision=True)
    assert len(own.read_bytes()) < len(files["csv"].read_bytes())


def test_flags_are_no_boxes(model, image):
    faces = clnf_torch.detect(image, model=model, boxes=[[False, False, True, True]])
    assert not len(faces) and "is not four numbers" in faces.problems[0].message


def test_times_of_images_are_of_float64_whatever_the_default(model, image, box):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        found = clnf_torch.detect(image, model, boxes=box)
        none = clnf_torch.detect([None], model, boxes=[box])
    finally:
        torch.set_default_dtype(before)
    assert found.timestamp.dtype == none.timestamp.dtype == torch.float64
