"""``--device cuda`` on a card that the processor simulates: tables are the processor's."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import pytest

from clnf_torch.cli.videos import run as tracking
from clnf_torch.media import video_stream
from tests.media.videos import FixedBox, damage_frame, moving, write_key_frames
from tests.simulated_cuda import missing, simulated_cards
from tests.simulated_driver import simulated_driver

# OpenFace's grids, 1/32 of a pixel, would enlarge rounding
ALIKE = ("--no-multi-view", "--numerics", "exact")
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "cards can be simulated")


@pytest.fixture
def card() -> Iterator[None]:
    with simulated_cards(), simulated_driver():
        yield


def assert_same_table(path, expected) -> None:
    """Numbers that differ by no more than rounding, in the same rows and columns."""
    with open(path, newline="") as file, open(expected, newline="") as other:
        rows, wanted = list(csv.reader(file)), list(csv.reader(other))
    assert len(rows) == len(wanted) > 1 and rows[0] == wanted[0]
    for row, same in zip(rows[1:], wanted[1:], strict=True):
        assert row[:1] == same[:1] or float(row[0]) == float(same[0])
        for name, number, known in zip(rows[0], row, same, strict=True):
            if name not in ("file", "image"):
                assert float(number or "nan") == pytest.approx(float(known or "nan"), abs=0.02, nan_ok=True), name


def test_images_are_fitted_on_a_card(clnf_torch_cli, bundle, image, box, tmp_path, card):
    for device in ("cpu", "cuda"):
        files = "--csv", tmp_path / f"{device}.csv", "--draw", tmp_path / device
        words = "--box", *box, *files, *ALIKE
        done = clnf_torch_cli("detect", image, "--model", bundle, *words, "--device", device)
        assert done.exit_code == 0, done.stderr
    assert_same_table(tmp_path / "cuda.csv", tmp_path / "cpu.csv")
    assert len(list((tmp_path / "cuda").iterdir())) == 1


def test_videos_are_tracked_on_a_card(clnf_torch_cli, bundle, image, box, tmp_path, card, monkeypatch):
    """Decoded by the processor, where the card does not; a damaged frame is a row there too."""
    monkeypatch.setattr(tracking, "load_face_detector_for", lambda *_: FixedBox(box))
    asked, hwaccel = [], video_stream.HWAccel
    monkeypatch.setattr(video_stream, "HWAccel", lambda *args, **known: asked.append(known) or hwaccel(*args, **known))
    video = damage_frame(write_key_frames(tmp_path / "video.avi", moving(image, 4)), 2)
    for device in ("cpu", "cuda"):
        words = "--csv", tmp_path / f"{device}.csv", *ALIKE, "--device", device
        done = clnf_torch_cli("track", video, "--model", bundle, *words)
        assert "4 frames" in done.stderr, done.stderr
    assert asked and all(known["device"] == "0" for known in asked)
    assert_same_table(tmp_path / "cuda.csv", tmp_path / "cpu.csv")
