"""A bundle of the free model, its image, and the program itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch.cli import annotated_faces
from clnf_torch.files.archive import save_archive
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import FORMAT, VERSION
from tests.mtcnns import make_mtcnn_record
from tests.training.heads import make_crops, make_gaussian, make_heads


@pytest.fixture(scope="session")
def dotted_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of dots with their annotations, shapes to begin with, and a bundle with a face detector."""
    folder = tmp_path_factory.mktemp("faces")
    pdm = make_gaussian().pdm()
    crops = make_crops(pdm.landmarks(make_heads(pdm, 12)))
    for row, (gray, landmarks) in enumerate(zip(crops.gray, crops.landmarks, strict=True)):
        cv2.imwrite(str(folder / f"{row}.png"), gray.numpy())
        points = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in landmarks.tolist())
        (folder / f"{row}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    own = folder.parent
    mean, moves = pdm.mean.detach().numpy() / 10 * np.array([1, -1, -1]), pdm.modes.detach().numpy() / 10
    np.savez(own / "shapes.npz", mean=mean, identity=moves * [1, -1, -1], expression=np.zeros((1, 68, 3)))
    save_archive({"format": FORMAT, "version": VERSION, "face_detector": make_mtcnn_record()}, own / "detector.pt")
    return folder


@pytest.fixture
def four_copies(tmp_path: Path, bundle: Path, image: Path, box: list[float]) -> Path:
    """A folder of four annotated faces, which are one."""
    found = clnf_torch.load(bundle).fit(read_image(image)[None], torch.tensor([box])).landmarks[0]
    (folder := tmp_path / "faces").mkdir()
    names = [f"{number}.png" for number in range(4)]
    for name in names:
        shutil.copy(image, folder / name)
    np.savez(folder / "landmarks.npz", names=np.array(names), landmarks=np.stack([found.numpy()] * 4))
    return folder


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets four faces be learned from."""
    monkeypatch.setattr(annotated_faces, "LEAST_FACES", 4)
