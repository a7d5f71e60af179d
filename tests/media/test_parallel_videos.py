"""Parallel videos that were interrupted after any step go on from what was saved as if nothing had happened."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch.converters import convert
from clnf_torch.geometry.records import from_plain, map_tensors, take_rows, to_plain
from clnf_torch.media.images import read_image
from clnf_torch.media.parallel_videos import Snapshot, VideoFrame, VideoRun, run_parallel_videos
from clnf_torch.media.video_frames import Frame
from clnf_torch.models.bundle import default_bundle
from clnf_torch.tracking import TrackState, VideoTracker
from tests.tracking.world import MANY, SINGLE, Fitter, Rectangles, frame

ASTRONAUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "astronaut.jpg"


@dataclass(eq=False)
class Shown:
    """A video of given images, None where one is damaged."""

    path: Path
    images: list[Tensor | None]
    rate: Fraction = Fraction(25)
    problem: str | None = None

    def __post_init__(self) -> None:
        self.count = len(self.images)
        self.height, self.width = next(each.shape[-2:] for each in self.images if each is not None)

    def __iter__(self):
        return (Frame(number / 25, image) for number, image in enumerate(self.images))


@dataclass
class Rows:
    """Takes frames; what was skipped is remembered too."""

    taken: list[VideoFrame] = field(default_factory=list)
    skips: list[int] = field(default_factory=list)
    closed: bool = False

    def __call__(self, frame: VideoFrame) -> None:
        self.taken.append(frame)

    def saved(self) -> dict[str, Any]:
        return {"rows": len(self.taken)}

    def skipped(self, number: int, image: Tensor) -> None:
        self.skips.append(number)


@dataclass
class Recorder:
    """Runs videos, and keeps their rows and every snapshot as bytes."""

    tracker: VideoTracker
    sources: list[Shown]
    rows: dict[Path, Rows] = field(default_factory=dict)
    snapshots: list[tuple[bytes, set[Path]]] = field(default_factory=list)  # with the videos that had ended
    steps: list[int] = field(default_factory=list)

    @contextlib.contextmanager
    def opened(self, source: Shown, saved: dict[str, Any] | None):
        rows = Rows(self.rows[source.path].taken[: saved["rows"]] if saved else [])
        self.rows[source.path] = rows
        yield rows
        rows.closed = True

    def save(self, snapshot: Snapshot) -> None:
        file = io.BytesIO()
        paths = [str(path) for path in (source.path for source in snapshot.sources)]
        torch.save({"state": snapshot.state.to_dict(), "paths": paths, "sinks": snapshot.sinks}, file)
        self.snapshots.append((file.getvalue(), {path for path, rows in self.rows.items() if rows.closed}))

    def run(self, sources=None, snapshot: Snapshot | None = None) -> None:
        run = VideoRun(self.tracker, 2, self.opened, self.tracker.begin, self.steps.append, self.save, save_every=0)
        run_parallel_videos(run, self.sources if sources is None else sources, snapshot)

    def resumed(self, content: bytes, ended: set[Path]) -> Recorder:
        """The end of a run that was stopped when this had been saved and these videos had ended."""
        saved = torch.load(io.BytesIO(content), weights_only=True)
        paths, state = [Path(path) for path in saved["paths"]], TrackState.from_dict(saved["state"])
        running = [number for number, path in enumerate(paths) if path not in ended]
        snapshot = Snapshot(
            state.select(torch.tensor(running, dtype=torch.int64)),
            [next(source for source in self.sources if source.path == paths[number]) for number in running],
            [saved["sinks"][number] for number in running],
        )
        again = Recorder(self.tracker, self.sources, dict(self.rows))
        again.run([source for source in self.sources if source.path not in ended], snapshot)
        return again


def assert_equal_bits(found: VideoFrame, expected: VideoFrame) -> None:
    assert (found.number, found.time) == (expected.number, expected.time)
    assert torch.equal(found.image, expected.image)

    def same(a: Tensor, b: Tensor) -> Tensor:
        assert a.dtype == b.dtype and torch.equal(a.nan_to_num(7), b.nan_to_num(7))
        return a

    map_tensors(same, found.result, expected.result)


def assert_same_rows(found: Recorder, expected: Recorder) -> None:
    assert found.rows.keys() == expected.rows.keys()
    for path, rows in expected.rows.items():
        assert len(found.rows[path].taken) == len(rows.taken)
        for one, same in zip(found.rows[path].taken, rows.taken, strict=True):
            assert_equal_bits(one, same)


@pytest.mark.parametrize("config", [SINGLE, MANY], ids=["single", "many"])
def test_interrupted_after_any_step(config):
    walk = [frame((40 + 3 * t, 60, 80), (170 - 2 * t, 60, 90)) for t in range(6)] + [frame((60, 60, 80))] * 2
    walks = walk, walk[:4], [frame()] * 2 + walk[::-1], walk[3:5], walk[2:5]
    sources = [Shown(Path(f"{number}.avi"), images) for number, images in enumerate(walks)]
    whole = Recorder(VideoTracker(Fitter(), Rectangles(), config), sources)
    whole.run()
    assert [len(whole.rows[source.path].taken) for source in sources] == [len(images) for images in walks]
    assert set(whole.steps) == {1, 2} and len(whole.snapshots) > len(whole.steps)
    for content, ended in whole.snapshots[::2]:
        assert_same_rows(whole.resumed(content, ended), whole)


@pytest.fixture(scope="module", params=["default", "ccnf"])
def real_bundle(request, tmp_path_factory) -> Path:
    """The installed model, whose numbers depend on who shares its batch, and OpenFace's CCNF."""
    if request.param == "default":
        return default_bundle()
    path = tmp_path_factory.mktemp("bundle") / "ccnf.pt"
    convert(request.getfixturevalue("openface_models") / "main_clnf_general.txt", path)
    return path


def test_real_models_go_on_to_the_last_bit(real_bundle):
    still = torch.nn.functional.interpolate(read_image(ASTRONAUT)[None, :, :320, 60:380].float(), (160, 160))[0].byte()
    images = [still.roll(number, 2) for number in range(4)]
    walks = images[:3], [images[1], None], images[2:]
    sources = [Shown(Path(f"{number}.avi"), list(each)) for number, each in enumerate(walks)]
    config = clnf_torch.VideoConfig(multi_view=False, detect_every=3)
    tracker = VideoTracker(clnf_torch.load(real_bundle), clnf_torch.load_face_detector(default_bundle()), config)
    whole = Recorder(tracker, sources)
    whole.run()
    assert all(row.result.success.any() for row in whole.rows[Path("0.avi")].taken)
    for content, ended in (whole.snapshots[0], whole.snapshots[2]):
        assert_same_rows(whole.resumed(content, ended), whole)
    result = whole.rows[Path("0.avi")].taken[-1].result
    again = from_plain(take_rows(result, slice(0, 0)), to_plain(result))
    rows = whole.rows[Path("0.avi")].taken[-1].rows
    assert_equal_bits(VideoFrame(still, 0.0, 1, again, rows), VideoFrame(still, 0.0, 1, result, rows))


def test_an_interruption_saves_first():
    sources = [Shown(Path("0.avi"), [frame((40 + 3 * t, 60, 80)) for t in range(5)])]
    recorder = Recorder(VideoTracker(Fitter(), Rectangles(), MANY), sources)

    def interrupted(count: int) -> None:
        if len(recorder.rows[Path("0.avi")].taken) == 3:
            raise KeyboardInterrupt

    run = VideoRun(recorder.tracker, 2, recorder.opened, recorder.tracker.begin, interrupted, recorder.save)
    with pytest.raises(KeyboardInterrupt):
        run_parallel_videos(run, sources)
    ((content, ended),) = recorder.snapshots
    again = recorder.resumed(content, ended)
    assert [row.number for row in again.rows[Path("0.avi")].taken] == [1, 2, 3, 4, 5]
    assert again.rows[Path("0.avi")].skips == [1, 2, 3]
