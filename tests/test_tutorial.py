"""The tutorial works: its commands and its program run one after the other on two short clips."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import cv2
import pytest

from tests.media.videos import write_video

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = (ROOT / "docs" / "guide" / "tutorial.md").read_text(encoding="utf-8")


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """A folder with what a reader has: clips of a face."""
    image = cv2.resize(cv2.imread(str(ROOT / "docs" / "images" / "astronaut.jpg")), None, fx=0.5, fy=0.5)
    image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    (tmp_path / "clips").mkdir()
    for name in ("anna", "ben"):
        write_video(tmp_path / "clips" / f"{name}.mp4", [image] * 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words_of(command: str) -> list[str]:
    """Words as a shell gives them to the program."""
    words = shlex.split(command)[1:]
    return [found for word in words for found in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


def test_commands_and_program_run_one_after_the_other(clnf_torch_cli, desk):
    pytest.importorskip("scipy", reason="no SciPy: pip install 'clnf-torch[smooth]'")
    matplotlib = pytest.importorskip("matplotlib", reason="no matplotlib: pip install 'clnf-torch[training]'")
    matplotlib.use("agg")
    commands = re.findall(r"^    (clnf-torch .*)$", TUTORIAL, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        done = clnf_torch_cli(*words_of(command))
        assert done.exit_code == 0, f"{command}: {done.output}"
    (program,) = re.findall(r"^```py\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
    exec(compile(program, "tutorial.md", "exec"), {})
    assert (desk / "first" / "anna.mp4").stat().st_size and (desk / "anna.png").stat().st_size
    assert (desk / "processed" / "report.html").is_file()
    rows = list(csv.DictReader((desk / "measures" / "ben_measures.csv").read_text().splitlines()))
    # The same image three times: a face at rest
    assert len(rows) == 3 and all(float(row["commissure_excursion_image_left_mm"]) < 1 for row in rows)
    assert 20 < float(rows[0]["mouth_width_mm"]) < 90
