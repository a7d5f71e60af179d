"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import cv2

from clnf_torch.converters import convert

ROOT = Path(__file__).resolve().parent.parent


def test_ten_lines_to_the_first_landmarks(golden_dir, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    convert(golden_dir / "free_model", tmp_path / "openface.pt")
    cv2.imwrite(str(tmp_path / "face.jpg"), cv2.imread(str(golden_dir / "free_model" / "image.png")))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["result"].landmarks.shape == (1, 68, 2)
    assert capsys.readouterr().out.startswith("tensor([[")
