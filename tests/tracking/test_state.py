"""States as records: splitting, joining, refusing what is no state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.tracking import TrackState, VideoTracker
from clnf_torch.tracking.saved_state import StateError
from clnf_torch.tracking.template import Templates
from tests.tracking.world import MANY, SINGLE, Fitter, Rectangles, frame


def state_of(videos: int, config=MANY) -> TrackState:
    """Video n shows n + 1 faces."""
    tracker = VideoTracker(Fitter(), Rectangles(), config)
    images = [frame(*((30 + 45 * k, 60, 60 + 20 * k) for k in range(n + 1))) for n in range(videos)]
    return tracker.step(tracker.begin(videos), torch.stack(images))[0]


def assert_same(found: TrackState, expected: TrackState):
    for name, value in expected.to_dict().items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(found.to_dict()[name], value, equal_nan=True)
        else:
            assert found.to_dict()[name] == value


@pytest.mark.parametrize("config", [SINGLE, MANY], ids=["single", "many"])
def test_selected_and_joined_again(config):
    state = state_of(3, config)
    parts = [state.select(torch.tensor(videos)) for videos in ([0], [1, 2])]
    assert [part.videos for part in parts] == [1, 2]
    assert_same(parts[0].join(parts[1]), state)


def test_selected_in_another_order():
    state = state_of(3).select(torch.tensor([2, 0]))
    assert state.tracks.video.tolist() == [0, 0, 0, 1] and state.tracks.identity.tolist() == [0, 1, 2, 0]
    assert state.next_identity.tolist() == [3, 1]


def test_templates_of_other_sizes_are_joined():
    state = state_of(1)
    small, large = (
        Templates(torch.ones(1, 2, 3, dtype=torch.uint8), torch.tensor([[3, 2]])),
        Templates(torch.ones(1, 4, 2, dtype=torch.uint8), torch.tensor([[2, 4]])),
    )
    joined = replace(state, templates=small).join(replace(state, templates=large)).templates
    assert joined.pixels.shape == (2, 4, 3) and joined.size.tolist() == [[3, 2], [2, 4]]
    assert joined.pixels.sum((1, 2)).tolist() == [6, 8]


def test_on_another_device():
    assert_same(state_of(2).to("cpu"), state_of(2))
    assert state_of(1).to("meta").tracks.params.scale.device.type == "meta"


def changed(name: str, row: int | tuple[int, ...], value: float) -> torch.Tensor:
    """A tensor of the saved state with another value in one place."""
    tensor = state_of(1).to_dict()[name].clone()
    tensor[row] = value
    return tensor


def test_a_saved_file_goes_back_to_the_last_bit(tmp_path):
    state = replace(state_of(3), preferred=torch.tensor([[0.1, torch.nan], [1 / 3, 0.7], [0, 1]], dtype=torch.float64))
    state.save(tmp_path / "state.pt")
    again = TrackState.load(tmp_path / "state.pt")
    for name, value in state.to_dict().items():
        found = again.to_dict()[name]
        if isinstance(value, torch.Tensor):
            assert found.dtype == value.dtype and found.tolist().__repr__() == value.tolist().__repr__()
        else:
            assert found == value
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.pt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "clnf_torch bundle"}, "expected a 'clnf_torch track state'"),
        ({"version": 1}, "of version 1"),
        ({"identity": None}, "lacks 'identity'"),
        ({"preferred": torch.zeros(5, 2)}, "preferred: expected the shape V 2, V = 1"),
        ({"frame": torch.zeros(1)}, "frame: expected int64 numbers, found torch.float32"),
        ({"success": [True]}, "success: expected bool numbers, found list"),
        ({"landmarks": torch.zeros(1, 5, 3)}, "landmarks: expected the shape R N 2"),
        ({"params_local": torch.zeros(2, 2)}, "params_local: expected the shape R M"),
        ({"template_pixels": torch.zeros(7, 0, 0, dtype=torch.uint8)}, "template_pixels: expected the shape R h w"),
        ({"template_size": torch.tensor([[9, 0]])}, "templates within their images"),
        ({"video": torch.tensor([1])}, "tracks of its 1 videos"),
        ({"identity": torch.tensor([9])}, "identities below the next free one"),
        ({"missed_frames": torch.tensor([-2])}, "expected counts of frames"),
        ({"landmarks": changed("landmarks", (0, 1, 0), torch.nan)}, "finite landmarks of faces that were found"),
        ({"params_global": changed("params_global", (0, 0), torch.inf)}, "finite params_global"),
    ],
)
def test_what_is_no_state_is_refused(change, message, tmp_path):
    saved = {key: value for key, value in (state_of(1).to_dict() | change).items() if value is not None}
    with pytest.raises(StateError, match=message):
        TrackState.from_dict(saved)
    torch.save(saved, tmp_path / "state.pt")
    with pytest.raises(StateError, match=message) as caught:
        TrackState.load(tmp_path / "state.pt")
    assert "state.pt: " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(100), None, 5])
def test_other_files_are_refused_in_a_line(content, tmp_path):
    path = tmp_path / "state.pt"
    if content is None:
        state_of(2).save(path)
        path.write_bytes(path.read_bytes()[:-500])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(StateError, match="expected a saved track state") as caught:
        TrackState.load(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError):
        TrackState.load(tmp_path / "missing.pt")


def test_states_of_other_models_and_settings_are_refused():
    image = frame()[None]
    other = VideoTracker(Fitter(), Rectangles(), SINGLE)
    with pytest.raises(ValueError, match="2 tracks of 1 videos"):
        many = VideoTracker(Fitter(), Rectangles(), MANY)
        two = torch.stack([frame((40, 60, 80), (150, 60, 90))])
        other.step(many.step(many.begin(), two)[0], image)
    state = other.begin()
    tracks = replace(state.tracks, landmarks=torch.zeros(1, 68, 2))
    with pytest.raises(ValueError, match="68 landmarks"):
        other.step(replace(state, tracks=tracks), image)
