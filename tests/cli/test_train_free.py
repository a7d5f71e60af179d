"""``clnf-torch train free`` from folders to a bundle, in a few steps."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import clnf_torch
from clnf_torch.cli.main import app
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import load_bundle
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.free.mesh_teacher import SOURCE, face_mesh
from clnf_torch.training.free.templates import ALONG_LINES, AT_POINTS, NUM_POINTS, landmarks_of_templates
from clnf_torch.training.synthetic.face_shards import shard_path, write_shard
from tests.factories import seeded
from tests.measures.heads import FACE
from tests.training.rendered_eyes import rendered_eyes

FACES = 6


@pytest.fixture(autouse=True)
def heads(monkeypatch):
    """Heads that need no package."""

    def made_up(count: int, seed: int) -> Tensor:
        return FACE.mean.float() + torch.randn(40, 68, 3, generator=seeded(seed))

    monkeypatch.setattr("clnf_torch.training.shape.depth.random_shapes", made_up)


def template_of(landmarks: Tensor) -> Tensor:
    """Points (189, 2) of a template that has about these landmarks (68, 2)."""
    points = landmarks[30].repeat(NUM_POINTS, 1)
    for wanted, line in ALONG_LINES:
        ends = [wanted[0], wanted[-1]]
        for place, point in enumerate(line):
            points[point] = torch.lerp(landmarks[ends[0]], landmarks[ends[1]], place / (len(line) - 1))
    for landmark, chosen in AT_POINTS.items():
        points[list(chosen)] = landmarks[landmark]
    return points


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Path:
    """A folder with the astronaut as rendered faces, as photographs with templates, and as a portrait."""
    folder, size = tmp_path_factory.mktemp("material"), 256
    image = read_image(Path(__file__).parents[2] / "docs" / "images" / "astronaut.jpg")
    landmarks = clnf_torch.load().fit(image[None], clnf_torch.load_face_detector().detect(image[None]).boxes).landmarks
    left, top = (landmarks[0].amin(0) + landmarks[0].amax(0) - size).div(2).long().clamp_min(0).tolist()
    face = image[:, top : top + size, left : left + size]
    marks = landmarks[0] - torch.tensor([left, top])
    rendered = rendered_eyes(FACES)
    rendered = replace(rendered, images=face.expand(FACES, -1, -1, -1), contour=marks.expand(FACES, -1, -1))
    names = [f"face_{number}" for number in range(FACES)]
    for made in ("rendered", "london", "portraits"):
        (folder / made).mkdir()
    write_shard(shard_path(folder / "rendered", range(FACES)), rendered)
    pixels = face.permute(1, 2, 0).flip(-1).numpy()
    for path in [*(folder / "london" / f"{name}.jpg" for name in names), folder / "portraits" / "one.png"]:
        cv2.imwrite(str(path), pixels)
    moved = torch.stack([template_of(marks) + number for number in range(FACES)])
    np.savez(folder / "london" / "templates.npz", names=np.array(names), points=moved.numpy())
    rng = np.random.default_rng(0)
    mean = FACE.mean.numpy() / 10 * [1, -1, -1]
    blends = {name: rng.normal(0, 0.1, (4, 68, 3)) for name in ("identity", "expression")}
    np.savez(folder / "shapes.npz", mean=mean, **blends)
    return folder


def run(material: Path, out: Path, *more: str):
    folders = ("--templates", str(material / "london"), "--portraits", str(material / "portraits"))
    command = ("train", "free", str(material / "rendered"), *folders, "--prior", str(material / "shapes.npz"))
    few = ("--effort", "0.0002", "--threads", "1", "--work", str(out.parent / "work"))
    return CliRunner().invoke(app, (*command, "-o", str(out), *few, *more))


def test_a_bundle_is_made_of_all_material(material, tmp_path):
    ended = run(material, tmp_path / "free.pt")
    assert ended.exit_code == 0, ended.output
    assert "6 rendered faces, 4 templates" in ended.output
    bundle = load_bundle(tmp_path / "free.pt")
    assert bundle["face_detector"]["kind"] == "blazeface" and bundle["validator"]["kind"] == "cnn"
    assert "research" not in bundle["licence"]
    assert "6 photographs with hand-set points: london" in {source["name"] for source in bundle["sources"]}
    again = run(material, tmp_path / "again.pt")
    assert again.exit_code == 0 and (tmp_path / "again.pt").read_bytes() == (tmp_path / "free.pt").read_bytes()


def test_its_boxes_are_those_of_its_own_faces(material, tmp_path):
    assert run(material, tmp_path / "free.pt").exit_code == 0
    arrays = np.load(material / "london" / "templates.npz")
    truth = landmarks_of_templates(torch.from_numpy(arrays["points"][:1]).float())[0]
    image = read_image(material / "london" / "face_0.jpg")[None]
    (box,) = clnf_torch.load_face_detector(tmp_path / "free.pt").detect(image).boxes
    extent = torch.cat((truth.amin(0), truth.amax(0) - truth.amin(0)))
    # Faces here are up to 6 pixels apart
    torch.testing.assert_close(box, extent, rtol=0, atol=8)


def test_a_folder_without_templates_is_named(material, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = run(material, tmp_path / "free.pt", "--templates", str(tmp_path / "empty"))
    assert ended.exit_code == 1 and "templates.npz" in ended.output


def test_a_teacher_is_named_among_the_sources(material, tmp_path, monkeypatch):
    class Teacher:
        """Finds no face."""

        def __init__(self, templates: FaceCrops) -> None:
            assert len(templates.gray) == 4

        def landmarks(self, gray: Tensor) -> Tensor:
            """Of no crop."""
            return torch.full((len(gray), 68, 2), torch.nan)

    monkeypatch.setattr("clnf_torch.cli.runs.train_free.face_mesh", lambda: None)
    monkeypatch.setattr("clnf_torch.cli.runs.train_free.MeshTeacher", Teacher)
    ended = run(material, tmp_path / "free.pt", "--teacher")
    assert ended.exit_code == 0, ended.output
    assert SOURCE in {source["name"] for source in load_bundle(tmp_path / "free.pt")["sources"]}


def test_a_teacher_that_is_not_installed_is_missed_before_the_work(material, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    face_mesh.cache_clear()
    ended = run(material, tmp_path / "free.pt", "--teacher")
    assert ended.exit_code == 1 and "pip install mediapipe==0.10.14" in ended.output
    assert not (tmp_path / "work").exists()
