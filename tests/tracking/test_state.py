"""States as records: splitting, joining, refusing what is no state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.tracking import TrackState, VideoTracker
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "clnf_torch bundle"}, "expected a 'clnf_torch track state'"),
        ({"version": 1}, "of version 1"),
        ({"identity": None}, "lacks 'identity'"),
        ({"preferred": torch.zeros(5, 2)}, "do not make a state"),
    ],
)
def test_what_is_no_state_is_refused(change, message):
    saved = {key: value for key, value in (state_of(1).to_dict() | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        TrackState.from_dict(saved)
