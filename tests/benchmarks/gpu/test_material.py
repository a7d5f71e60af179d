"""What is fitted: the painted faces pass for faces, the large model has the published size, a checkout is enough."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import cv2
import pytest
import torch

import clnf_torch
from benchmarks.gpu.checkout import ROOT
from benchmarks.gpu.faces import SIDE, PaintedFaces, paint_faces
from benchmarks.gpu.material import FREE_MODEL, MIRROR, jittered, read_png
from benchmarks.gpu.published_size import HIDDEN, make_published_size

BARE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path[:] = [folder for folder in sys.path if "__editable__" not in folder]
from benchmarks.gpu.checkout import make_importable
make_importable()
import clnf_torch.converters, tests.factories
from clnf_torch.models.bundle import default_bundle
print(default_bundle().is_file())
"""


@pytest.fixture(scope="module")
def detector() -> clnf_torch.LandmarkDetector:
    return clnf_torch.load()


@pytest.fixture(scope="module")
def faces(detector) -> PaintedFaces:
    pdm = detector.model.pdm
    return paint_faces(pdm.mean, pdm.modes, pdm.variances, 2)


def test_painted_faces_are_found_and_believed(faces, detector):
    found = clnf_torch.load_face_detector().detect(faces.images)
    assert found.image_index.tolist() == [0, 1]
    fitted = detector.fit(faces.images, found.boxes, found.image_index)
    assert fitted.success.all()
    assert (fitted.landmarks - faces.landmarks).norm(dim=-1).mean() < 0.03 * SIDE


def test_the_large_model_has_the_published_size(detector):
    model = make_published_size(detector.model.pdm, MIRROR, torch.float32)
    assert model.patch_scales == tuple(HIDDEN)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert 4 * numbers == pytest.approx(430e6, rel=0.02)
    assert model.experts_at(0).visible.shape == (7, 68)


@pytest.mark.parametrize("numerics", ["openface", "exact"])
def test_its_experts_answer_smoothly(faces, detector, numerics):
    model = make_published_size(detector.model.pdm, MIRROR, torch.float32, shrink=16)
    large = clnf_torch.LandmarkDetector(model, numerics)
    first, other = (large.fit(faces.images, boxes).landmarks for boxes in (faces.boxes, faces.boxes + 1e-4))
    assert first.isfinite().all() and (first - other).norm(dim=-1).median() < 0.1


def test_the_png_is_read_as_opencv_reads_it():
    expected = cv2.imread(str(FREE_MODEL / "image.png"))[:, :, ::-1].copy()
    assert torch.equal(read_png(FREE_MODEL / "image.png"), torch.from_numpy(expected).permute(2, 0, 1))


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_of_a_png_is_undone(tmp_path, kind):
    lines = torch.randint(256, (4, 15), generator=torch.Generator().manual_seed(kind), dtype=torch.uint8)
    raw = b"".join(bytes([kind]) + bytes(line.tolist()) for line in lines)
    header = struct.pack(">IIBBBBB", 5, 4, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        data += struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))
    (tmp_path / "image.png").write_bytes(data)
    expected = cv2.imread(str(tmp_path / "image.png"))[:, :, ::-1].copy()
    assert torch.equal(read_png(tmp_path / "image.png"), torch.from_numpy(expected).permute(2, 0, 1))


def test_jittered_boxes_stay_near():
    boxes = torch.tensor([[10.0, 20.0, 100.0, 120.0]]).repeat(50, 1)
    moved = jittered(boxes, first=1)
    assert torch.equal(moved[0], boxes[0]) and len(moved.unique(dim=0)) == 50
    assert ((moved / boxes - 1).abs() < 0.12).all()


def test_a_checkout_that_is_not_installed_is_enough():
    done = subprocess.run([sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
