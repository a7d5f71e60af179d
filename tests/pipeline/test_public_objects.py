"""Every public class and every result of a public function is copied, pickled and saved, with equal numbers.

Whatever is in ``clnf_torch.__all__`` needs an example here: a class one of its objects, a function what it returns.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import clnf_torch
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.models.bundle import bundle_file
from tests.media.videos import FixedBox

pytest.importorskip("cv2")

FAST = clnf_torch.FitConfig(window_sizes=(5, 3, 3, 3), iterations=1, multi_view=False)


def saved_and_loaded(value: Any, **options: Any) -> Any:
    """What ``torch.load`` makes of what ``torch.save`` wrote."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **options)


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "torch.save": lambda value: saved_and_loaded(value, weights_only=False),
    "torch.save, read as by default": saved_and_loaded,
}
# Modules are code, and hold it; the others remember images of any type, or are protocols. ``torch.load`` refuses them
CODE = {"BundleError", "CENExperts", "FaceDetector", "LandmarkDetector", "LandmarkModel", "PDM", "PenMarkEraser"}
CODE |= {"Face", "FaceTrack", "Faces", "Problem", "VideoTracker", "build_model", "detect", "load", "track"}
CODE |= {"load_face_detector", "load_pen_mark_eraser"}


def check_equal(found: Any, expected: Any, where: str) -> None:
    """Of the same type, with the same content to the last bit; a NaN equals a NaN."""
    assert isinstance(found, dict if isinstance(expected, dict) else type(expected)), where
    if isinstance(expected, Tensor):
        assert (found.dtype, found.requires_grad) == (expected.dtype, expected.requires_grad), where
        assert torch.equal(found.isnan(), expected.isnan()), where
        assert torch.equal(found.nan_to_num(), expected.nan_to_num()), where
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, where, strict=True)
    elif isinstance(expected, nn.Module):
        check_equal(dict(found.state_dict()), dict(expected.state_dict()), where)
        assert str(found) == str(expected), where
    elif isinstance(expected, dict):
        assert list(found) == list(expected), where
        for name, value in expected.items():
            check_equal(found[name], value, f"{where}[{name!r}]")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            check_equal(one, other, f"{where}[{number}]")
    elif isinstance(expected, Exception):
        assert str(found) == str(expected), where
    elif is_dataclass(expected):
        for field in fields(expected):
            check_equal(getattr(found, field.name), getattr(expected, field.name), f"{where}.{field.name}")
    elif hasattr(expected, "__dict__") and not isinstance(expected, type):
        check_equal(vars(found), vars(expected), where)
    else:
        assert found == expected, where


@pytest.fixture(scope="module")
def examples(bundle, image, box, tmp_path_factory) -> dict[str, Any]:
    """By the public name."""
    folder = tmp_path_factory.mktemp("examples")
    detector, finder = clnf_torch.load(bundle), clnf_torch.load_face_detector(bundle_file("small"))
    eraser = clnf_torch.load_pen_mark_eraser()
    faces = clnf_torch.detect([image, folder / "none.png"], detector, boxes=[[box], [box]], preset=FAST)
    frames, boxes, fit = torch.full((1, 3, 240, 240), 90.0), torch.tensor([box]), faces.fit
    tracker = clnf_torch.VideoTracker(detector, FixedBox(box), clnf_torch.VideoConfig(preset=FAST))
    state, seen = tracker.step(tracker.place(tracker.begin(1), boxes), frames)
    (folder / "broken.pt").write_bytes(b"broken")
    with pytest.raises(clnf_torch.BundleError) as error:
        clnf_torch.load(folder / "broken.pt")
    quality = clnf_torch.check_landmark_quality(fit.landmarks, detector)
    repaired = clnf_torch.repair_landmarks(fit.landmarks + 30, detector, frames)
    video = torch.full((2, 3, 240, 240), 90, dtype=torch.uint8)
    tracked = clnf_torch.track(video, detector, box=box, preset=FAST, multi_view=False)
    camera = Intrinsics.of(500.0, 500.0, 32.0, 32.0)
    record = clnf_torch.load_bundle(bundle)
    return {
        **{name: getattr(clnf_torch, name) for name in ("EXACT", "OPENFACE", "PRESETS")},
        "Numerics": clnf_torch.EXACT,
        **{name: getattr(clnf_torch, name)() for name in ("QualityConfig", "VideoConfig")},
        "BundleError": error.value,
        "CENExperts": detector.model.experts_at(0),
        "Face": faces[0],
        "FaceBoxes": finder.detect(frames),
        "FaceDetector": finder,
        "FaceTrack": tracked,
        "Faces": faces,
        "FitConfig": clnf_torch.FitConfig(regularisation=torch.tensor([1.0, 2.0])),
        "FitResult": fit,
        "Intrinsics": camera,
        "LandmarkDetector": detector,
        "LandmarkModel": detector.model,
        "LandmarkQuality": quality,
        "PDM": detector.model.pdm,
        "PenMarkEraser": eraser,
        "Problem": faces.problems[0],
        "RepairedLandmarks": repaired,
        "ShapeParams": fit.params,
        "TrackState": state,
        "VideoResult": seen,
        "VideoTracker": tracker,
        "adjacent_frames": clnf_torch.adjacent_frames(fit.landmarks, [0]),
        "align_faces": clnf_torch.align_faces(frames, fit.landmarks, detector.model.pdm),
        "build_model": detector.model,
        "check_landmark_quality": quality,
        "detect": faces,
        "load": detector,
        "load_bundle": record,
        "load_face_detector": finder,
        "load_pen_mark_eraser": eraser,
        "measure_faces": clnf_torch.measure_faces(fit, detector, camera),
        "repair_landmarks": repaired,
        "save": clnf_torch.save(detector, folder / "saved.pt"),
        "track": tracked,
    }


def test_every_public_name_has_an_example(examples):
    assert sorted(examples) == sorted(clnf_torch.__all__)
    for name, example in examples.items():
        if isinstance(public := getattr(clnf_torch, name), type) and name != "FaceDetector":
            assert isinstance(example, public)


# Those of the functions that return objects of public classes are these objects
@pytest.mark.parametrize("name", sorted({*clnf_torch.__all__} - {"build_model", "detect", "load", "track"}))
def test_public_objects_are_copied_pickled_and_saved(name, examples):
    for way, send in WAYS.items():
        if way != "torch.save, read as by default" or name not in CODE:
            check_equal(send(examples[name]), examples[name], f"{name} by {way}")


@pytest.mark.parametrize("way", ["copy", "deepcopy", "pickle", "torch.save"])
def test_copies_of_detectors_find_the_same(way, examples, image, box):
    frames = torch.rand(1, 240, 240, generator=torch.Generator().manual_seed(0))
    detector, found = examples["LandmarkDetector"], WAYS[way](examples["LandmarkDetector"])
    results = [each.fit(255 * frames, torch.tensor([box]), preset=FAST) for each in (found, detector)]
    check_equal(*results, way)


def test_a_saved_record_of_a_bundle_is_a_bundle(bundle, tmp_path):
    """And is looked at again: nobody has looked at what a caller changed in it."""
    record = clnf_torch.load_bundle(bundle)
    torch.save(record, tmp_path / "saved.pt")
    check_equal(clnf_torch.load_bundle(tmp_path / "saved.pt"), record, "bundle")
