"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import torch

from clnf_torch.converters import convert

ROOT = Path(__file__).resolve().parent.parent


def examples() -> list[str]:
    """The README's pieces of Python."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_four_lines_to_the_first_landmarks(golden_dir, capsys):
    picture = cv2.imread(str(golden_dir / "free_model" / "image.png"))[:, :, ::-1]
    names: dict[str, object] = {"frames": torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]}
    exec(examples()[0], names)
    assert names["result"].landmarks.shape[1:] == (68, 2)
    assert capsys.readouterr().out.startswith("tensor([")


def test_a_picture_and_openfaces_model(golden_dir, tmp_path, monkeypatch, capsys):
    convert(golden_dir / "free_model", tmp_path / "openface.pt")
    cv2.imwrite(str(tmp_path / "face.jpg"), cv2.imread(str(golden_dir / "free_model" / "image.png")))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(examples()[1], names)
    assert names["result"].landmarks.shape == (1, 68, 2)
    assert capsys.readouterr().out.startswith("tensor([[")
