"""`clnf_torch.tracking.smoothing`: constant, noisy and moving faces, gaps, new faces, and saved states."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clnf_torch import FitResult, ShapeParams
from clnf_torch.fitting.parts import PartFit
from clnf_torch.tracking import TrackState, VideoTracker
from clnf_torch.tracking.smoothing import SmoothedFaces, smooth_faces, smooth_series, smoothed_size
from tests.factories import make_model, seeded
from tests.tracking.world import MANY, SINGLE, Fitter, Rectangles, frame, room

MODEL = make_model()
SIZE = smoothed_size(MODEL)
STILL = torch.tensor([[60.0, 50.0]], dtype=torch.float64)


def fits(places: Tensor, roll: float = 0.0, scale: float = 1.0) -> FitResult:
    """Fits of faces at these places (R, 2), pixels, turned in the image."""
    rows = len(places)
    rotation = torch.tensor([[0.0, 0.0, roll]], dtype=torch.float64).expand(rows, 3)
    scales = torch.full((rows,), scale, dtype=torch.float64)
    params = ShapeParams(scales, rotation, places, torch.zeros(rows, 2, dtype=torch.float64))
    landmarks, number, yes = MODEL.pdm.landmarks(params), torch.zeros(rows, dtype=torch.int64), torch.ones(rows).bool()
    return FitResult(
        landmarks=landmarks, params=params, likelihood=scales, landmark_likelihoods=landmarks[..., 0], view=number,
        visible=landmarks[..., 0] > 0, hypothesis=number, confidence=scales, success=yes, parts={},
    )  # fmt: skip


def smoothed(frames: list[FitResult], found: list[bool] | None = None) -> list[FitResult]:
    """One face after the filter, frame by frame."""
    state, results = SmoothedFaces.none(1, SIZE, MODEL.pdm.mean), []
    for number, faces in enumerate(frames):
        state, result = smooth_faces(state, faces, torch.tensor([found is None or found[number]]))
        results.append(result)
    return results


def path(places: Tensor, **how: float) -> Tensor:
    """Where the filter has a face that was fitted at these places (T, 2)."""
    return torch.cat([faces.params.translation for faces in smoothed([fits(one[None], **how) for one in places])])


def second_difference(values: Tensor) -> Tensor:
    return values.diff(n=2, dim=0).abs().median()


def test_what_rests_stays_where_it_is():
    for faces in smoothed([fits(STILL)] * 5):
        torch.testing.assert_close(faces.landmarks, fits(STILL).landmarks)
        torch.testing.assert_close(faces.params.globals, fits(STILL).params.globals)


def test_the_jitter_of_a_face_at_rest_is_less_than_half():
    noise = 0.2 * torch.randn(400, 2, generator=seeded(3), dtype=torch.float64)
    assert second_difference(path(STILL + noise)) < 0.5 * second_difference(noise)
    # Not towards any other place
    torch.testing.assert_close(path(STILL + noise).mean(0), STILL[0], atol=0.05, rtol=0)


@pytest.mark.parametrize(("speed", "first"), [(0.25, 2.5), (1.0, 1.5), (4.0, 0.75)])
def test_an_even_movement_is_met_without_lag_and_its_beginning_the_sooner_the_faster_it_is(speed, first):
    places = STILL + speed * torch.arange(300.0, dtype=torch.float64)[:, None]
    lag = (places - path(places)) / speed
    assert lag[1:13].mean() <= first and lag[-1].abs().max() <= 0.1


def test_a_step_is_followed_within_a_few_frames_and_hardly_beyond():
    places = STILL.repeat(60, 1)
    places[10:] += 30
    found = path(places)
    assert (places[13] - found[13]).abs().max() < 3 and (found - places.amax(0)).max() < 0.05 * 30


def test_a_series_is_filtered_as_faces_are():
    noise = torch.randn(30, 2, generator=seeded(6), dtype=torch.float64)
    torch.testing.assert_close(smooth_series(STILL + noise), path(STILL + noise))
    assert smooth_series(noise[:1]).equal(noise[:1]) and len(smooth_series(noise[:0])) == 0


def test_sizes_of_faces_do_not_matter():
    moves = torch.randn(40, 2, generator=seeded(4), dtype=torch.float64)
    small, large = path(STILL + moves), path(10 * (STILL + moves), scale=10.0)
    torch.testing.assert_close(10 * small, large)


def test_angles_go_the_shorter_way_round():
    turns = [torch.pi - 0.01, -torch.pi + 0.01, torch.pi - 0.01, -torch.pi + 0.01]
    for faces in smoothed([fits(STILL, roll=turn) for turn in turns]):
        assert faces.params.rotation[0, 2].abs() > torch.pi - 0.02


def test_a_gap_begins_anew_and_lost_faces_stay_as_they_are():
    there = fits(STILL + 9)
    results = smoothed([fits(STILL), fits(STILL + 1), there, there], found=[True, True, False, True])
    assert 60 < results[1].params.translation[0, 0] < 61
    for faces in results[2:]:
        torch.testing.assert_close(faces.landmarks, there.landmarks, rtol=0, atol=0)


def test_faces_do_not_see_each_other():
    moves = torch.randn(6, 3, 2, generator=seeded(5), dtype=torch.float64)
    state = SmoothedFaces.none(3, SIZE, MODEL.pdm.mean)
    for places in moves:
        state, together = smooth_faces(state, fits(STILL + places), torch.tensor([True, False, True]))
    torch.testing.assert_close(together.params.translation[0], path(STILL + moves[:, 0])[-1])
    torch.testing.assert_close(together.params.translation[2], path(STILL + moves[:, 2])[-1])
    assert state.known.tolist() == [True, False, True]


def test_numbers_that_are_not_finite_are_not_remembered():
    state = SmoothedFaces.none(1, SIZE, MODEL.pdm.mean)
    for place in (STILL, STILL * torch.nan, STILL + 5):
        state, faces = smooth_faces(state, fits(place), torch.tensor([True]))
    torch.testing.assert_close(faces.params.translation, STILL + 5)
    assert state.values.isfinite().all() and state.known.all()


def test_parts_are_smoothed_too():
    def with_part(place: Tensor) -> FitResult:
        face = fits(place)
        own = PartFit(
            landmarks=face.landmarks, params=face.params, landmark_likelihoods=face.landmark_likelihoods,
            likelihood=face.likelihood, refined=face.success,
        )  # fmt: skip
        return replace(face, parts={"eye": own})

    state = SmoothedFaces.none(1, 2 * SIZE, MODEL.pdm.mean)
    for place in (STILL, STILL + 1):
        state, faces = smooth_faces(state, with_part(place), torch.tensor([True]))
    torch.testing.assert_close(faces.parts["eye"].landmarks, faces.landmarks)
    assert (faces.landmarks < with_part(STILL + 1).landmarks).all()


# A face that is bumped about, and in the end another one beside it
WALK = [(60 + 3 * (n % 2), 60, 100) for n in range(8)]
VIDEO = [frame(place, *([(150, 60, 200)] if n > 4 else [])) for n, place in enumerate(WALK)]


def tracked(config, images, state: TrackState | None = None):
    tracker, results = VideoTracker(Fitter(), Rectangles(), config), []
    state = state or tracker.begin()
    for image in images:
        state, result = tracker.step(state, image[None])
        results.append(result)
    return state, results


@pytest.mark.parametrize("config", [SINGLE, MANY], ids=["single", "many"])
def test_only_results_are_smoothed(config):
    state, plain = tracked(config, VIDEO)
    after, results = tracked(replace(config, smooth=True), VIDEO)
    for name, value in state.to_dict().items():
        if isinstance(value, Tensor) and not name.startswith("smoothed"):
            torch.testing.assert_close(after.to_dict()[name], value, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(results[0].faces.landmarks, plain[0].faces.landmarks)
    steps = [torch.stack([one.faces.landmarks[0] for one in some]).diff(dim=0).abs().max() for some in (results, plain)]
    assert 0 < steps[0] < 0.9 * steps[1]


def test_a_new_face_begins_anew():
    (_, plain), (_, results) = tracked(MANY, VIDEO), tracked(replace(MANY, smooth=True), VIDEO)
    first = next(n for n, one in enumerate(results) if len(one.identity) > 1)
    assert torch.equal(results[first].faces.landmarks[1], plain[first].faces.landmarks[1])


@pytest.mark.parametrize("config", [SINGLE, MANY], ids=["single", "many"])
def test_a_face_that_a_cut_moves_begins_anew(config):
    """It is lost and detected in one frame: no face is where the filter would put it, between both places."""
    cut = [*[frame((50, 60, 100))] * 9, *[frame((140, 60, 100))] * 3]
    (_, plain), (_, results) = tracked(config, cut), tracked(replace(config, smooth=True), cut)
    assert plain[9].success.all() and plain[9].identity.tolist() == plain[8].identity.tolist()
    for one, other in zip(results[9:], plain[9:], strict=True):
        torch.testing.assert_close(one.faces.landmarks, other.faces.landmarks)


def test_a_face_that_keeps_its_identity_behind_a_cut_begins_anew():
    cut = [*[room(1, (100, 60, 100))] * 6, *[room(2, (104, 60, 100))] * 3]
    (_, plain), (_, results) = tracked(MANY, cut), tracked(replace(MANY, smooth=True), cut)
    for one, other in zip(results[6:], plain[6:], strict=True):
        assert one.identity.tolist() == [0]
        torch.testing.assert_close(one.faces.landmarks, other.faces.landmarks)


@pytest.mark.parametrize("config", [SINGLE, MANY], ids=["single", "many"])
def test_a_saved_state_goes_on_the_same(config, tmp_path):
    config = replace(config, smooth=True)
    _, whole = tracked(config, VIDEO)
    state, _ = tracked(config, VIDEO[:4])
    state.save(tmp_path / "state.pt")
    _, rest = tracked(config, VIDEO[4:], TrackState.load(tmp_path / "state.pt"))
    for one, other in zip(rest, whole[4:], strict=True):
        assert torch.equal(one.faces.landmarks, other.faces.landmarks)


def test_the_state_of_other_settings_is_refused():
    state, _ = tracked(MANY, VIDEO[:2])
    with pytest.raises(ValueError, match=f"0 smoothed numbers of each face, these settings have {SIZE}"):
        tracked(replace(MANY, smooth=True), VIDEO, state)


def test_videos_beside_one_another():
    config = replace(MANY, smooth=True)
    tracker = VideoTracker(Fitter(), Rectangles(), config)
    state, alone = tracker.begin(2), tracked(config, VIDEO)[1]
    for n, image in enumerate(VIDEO):
        state, result = tracker.step(state, torch.stack((torch.zeros_like(image), image)))
        assert torch.equal(result.faces.landmarks, alone[n].faces.landmarks)
