"""The script of the guide repairs a table of landmarks beside a video."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.converters import convert
from clnf_torch.quality import check_landmark_quality
from clnf_torch.training.augmentation.landmark_corruption import CORRUPTIONS, corrupt_landmarks
from tests.media.videos import write_video

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("repair_video", ROOT / "docs" / "examples" / "repair_video.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(golden_dir, tmp_path) -> Path:
    convert(golden_dir / "free_model" / "main_ceclm_free.txt", tmp_path / "free.pt")
    return tmp_path / "free.pt"


def test_a_table_beside_a_video_is_repaired(script, bundle, detector, image, fitted, tmp_path, monkeypatch, capsys):
    still = np.ascontiguousarray(image[0].permute(1, 2, 0).flip(-1).numpy())
    video = write_video(tmp_path / "clip.mp4", [still] * 5)
    kind = torch.tensor([-1, list(CORRUPTIONS).index("eyes swapped"), -1, list(CORRUPTIONS).index("outside")])
    mean = detector.model.pdm.mean[:, :2]
    landmarks = corrupt_landmarks(fitted.repeat(4, 1, 1), kind, mean, torch.Generator().manual_seed(2))
    landmarks[2, 7, 0] = torch.nan
    frame = torch.tensor([1, 2, 4, 5])  # no face in the third
    script.write_table(tmp_path / "theirs.csv", frame, landmarks, torch.zeros(4, dtype=torch.bool))
    monkeypatch.setattr(script, "BATCH", 2)

    total = script.main(video, tmp_path / "theirs.csv", tmp_path / "ours.csv", bundle)

    assert total.faces == 4 and total.refitted >= 3 and total.poor_before >= 3
    assert capsys.readouterr().out == f"{total}\n"
    numbers, repaired = script.read_table(tmp_path / "ours.csv")
    assert torch.equal(numbers, frame)
    assert not check_landmark_quality(repaired, detector).poor.any()
    assert check_landmark_quality(landmarks, detector).poor.tolist() == [False, True, True, True]


def test_tables_come_back_as_they_were_written(script, tmp_path, rng):
    landmarks = (1000 * torch.rand(3, 68, 2, generator=rng)).round(decimals=3)
    landmarks[1, 4] = torch.nan
    script.write_table(tmp_path / "a.csv", torch.tensor([3, 4, 9]), landmarks, torch.tensor([True, False, True]))
    text = (tmp_path / "a.csv").read_text()
    assert text.startswith("frame,refitted,x_0,x_1,") and text.splitlines()[3].startswith("9,1,")
    (tmp_path / "a.csv").write_text(text.replace(",x_", ", x_").replace("nan", ""))  # as OpenFace writes its names
    frame, found = script.read_table(tmp_path / "a.csv")
    assert frame.tolist() == [3, 4, 9]
    torch.testing.assert_close(found, landmarks, atol=1e-3, rtol=0, equal_nan=True)
