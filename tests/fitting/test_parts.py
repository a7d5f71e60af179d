"""`clnf_torch.fitting.parts`: finer models of regions, fitted where the face was found, and folded back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch import EXACT, OPENFACE
from clnf_torch.fitting import parts as parts_module
from clnf_torch.fitting.config import PART_PRESETS, FitConfig, part_preset
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.fitting.parts import fit_parts
from clnf_torch.models.landmark_model import LandmarkModel, Part
from tests.factories import N, make_experts, make_images, make_model, make_params, make_pdm

IN_PARENT, IN_PART = [0, 1, 2, 3], [1, 0, 2, 4]


def make_part(name: str, in_parent: list[int], in_part: list[int], scale: float = 0.5, seed: int = 40) -> Part:
    experts = [make_experts(scale, 3, seed=seed), make_experts(2 * scale, 3, seed=seed + 1)]
    model = LandmarkModel(make_pdm(), experts)
    return Part(name, model, torch.tensor(in_parent), torch.tensor(in_part))


def make_face(*parts: Part) -> LandmarkModel:
    model = make_model()
    return LandmarkModel(model.pdm, list(model.experts), parts=parts)


def run(model, params, active=None, numerics=OPENFACE, frames=1):
    image_index = torch.arange(len(params)) % frames
    active = torch.ones(len(params), dtype=torch.bool) if active is None else active
    return fit_parts(model, numerics, ImageBatch(make_images(frames), image_index), params, active)


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
def test_a_part_step_by_step(numerics):
    part = make_part("left_eye_28", IN_PARENT, IN_PART)
    model, params = make_face(part), make_params(3)
    found, parts = run(model, params, numerics=numerics)

    given = torch.zeros(3, N, 2, dtype=torch.float64)
    known = torch.zeros(3, N, dtype=torch.bool)
    for parent, own in zip(IN_PARENT, IN_PART, strict=True):
        given[:, own], known[:, own] = model.pdm.landmarks(params)[:, parent], True
    start = params_from_landmarks(part.model.pdm, given, known)
    images = ImageBatch(make_images(), torch.zeros(3, dtype=torch.int64))
    fitter = LandmarkFitter(part.model, part_preset("left_eye_28"), numerics)
    state = fitter.fit(images, FitState.at(start, N))
    refined = params.scale > 0.9 * 0.5
    assert refined.any() and not refined.all()
    expected = part.model.pdm.landmarks(state.params.where(refined, start))
    torch.testing.assert_close(parts["left_eye_28"].landmarks, expected)
    assert parts["left_eye_28"].refined.tolist() == refined.tolist()

    folded = model.pdm.landmarks(params).clone()
    folded[:, IN_PARENT] = expected[:, IN_PART]
    again = params_from_landmarks(model.pdm, folded)
    torch.testing.assert_close(found.local[refined], again.local[refined])
    torch.testing.assert_close(found.local[~refined], params.local[~refined])


def test_a_part_of_a_large_face_starts_from_the_same_shape(monkeypatch):
    """The prior counts pixels: in large images a shape bent itself to the face's landmarks, and went away with them."""
    preset = FitConfig(window_sizes=(3, 5), any_size=True, adapt=False)
    monkeypatch.setattr(parts_module, "part_preset", lambda *_: preset)
    model, nobody = make_face(make_part("left_eye_28", IN_PARENT, IN_PART)), torch.zeros(3, dtype=torch.bool)

    def start(size: float) -> torch.Tensor:
        params = make_params(3)
        params = replace(params, scale=size * torch.ones(3).double(), translation=size * params.translation)
        return run(model, params, active=nobody)[1]["left_eye_28"].landmarks / size

    largest = 1 / parts_module.LEAST_NOISE
    torch.testing.assert_close(start(20 * largest), start(200 * largest), atol=1e-3, rtol=0)
    small = start(0.1 * largest)
    assert (start(20 * largest) - small).abs().max() > 0.01
    monkeypatch.setattr(parts_module, "part_preset", lambda *_: replace(preset, any_size=False))
    # Of small faces nothing changes
    torch.testing.assert_close(start(0.1 * largest), small, atol=0, rtol=0)
    assert (start(20 * largest) - start(200 * largest)).abs().max() > 0.01


def test_later_parts_overwrite_earlier_ones():
    first, second = make_part("mouth", IN_PARENT, IN_PART), make_part("brow", [0, 1, 2], [0, 1, 2], seed=60)
    params = make_params(4)
    both = run(make_face(first, second), params)[0].local
    turned = run(make_face(second, first), params)[0].local
    refined = params.scale > 0.45
    assert (both[refined] - turned[refined]).abs().min() > 0
    without = make_part("brow", [0, 1, 2, 3], [0, 1, 2, 3], seed=60)  # covers all that the first one shares
    torch.testing.assert_close(
        run(make_face(first, without), params)[0].local, run(make_face(without), params)[0].local
    )


def test_a_part_that_only_looks_leaves_the_face_alone():
    looks = make_part("left_eye_28", IN_PARENT, IN_PART)
    looks.folds_back = False
    other = make_part("brow", [0, 4], [2, 3], seed=50)
    params = make_params(3)
    found, parts = run(make_face(looks), params)
    assert found is params and parts["left_eye_28"].refined.any()
    beside, _ = run(make_face(looks, other), params)
    alone, _ = run(make_face(other), params)
    torch.testing.assert_close(beside.globals, alone.globals, atol=0, rtol=0)


def test_whether_a_part_folds_back_is_kept():
    part = make_part("left_eye_28", IN_PARENT, IN_PART)
    record = {**part.to_record(), "folds_back": False}
    assert not Part.from_record(record, part.model).folds_back
    del record["folds_back"]
    assert Part.from_record(record, part.model).folds_back


def mirrored_parts() -> tuple[Part, Part]:
    """Two parts of one model, at other landmarks of the face."""
    left = make_part("left_eye_28", IN_PARENT, IN_PART)
    return left, Part("right_eye_28", left.model, torch.tensor([4, 1, 3]), torch.tensor([1, 0, 3]))


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
@pytest.mark.parametrize("faces", [0, 1, 4])
def test_parts_of_one_model_are_rows_of_one_fit(monkeypatch, numerics, faces):
    left, right = mirrored_parts()
    params, fits, fit = make_params(faces), [], LandmarkFitter.fit
    active = torch.arange(faces) != 2
    monkeypatch.setattr(LandmarkFitter, "fit", lambda *given: fits.append(1) or fit(*given))
    found, together = run(make_face(left, right), params, active, numerics, frames=2)
    assert len(fits) <= 1
    assert list(together) == ["left_eye_28", "right_eye_28"]
    for part in (left, right):
        _, alone = run(make_face(part), params, active, numerics, frames=2)
        for field in ("landmarks", "landmark_likelihoods", "likelihood", "refined"):
            expected = getattr(alone[part.name], field)
            # In double precision rows of products are MKL's, which rounds few as it likes
            torch.testing.assert_close(getattr(together[part.name], field), expected, atol=1e-9, rtol=1e-9)
    apart = make_part("right_eye_28", [4, 1, 3], [1, 0, 3])
    again, _ = run(make_face(left, apart), params, active, numerics, frames=2)
    torch.testing.assert_close(found.globals, again.globals, atol=1e-9, rtol=1e-9)


def test_parts_of_equal_models_share_one_where_they_are_read():
    families = {"cen": make_part("brow", [0], [0]).model.family}
    record = make_face(*mirrored_parts(), make_part("brow", [0, 1], [0, 1], seed=60)).to_record()
    left, right, brow = LandmarkModel.from_record(record, torch.float64, families).parts
    assert left.model is right.model and brow.model is not left.model
    assert (left.name, right.name, brow.name) == ("left_eye_28", "right_eye_28", "brow")
    assert right.in_parent.tolist() == [4, 1, 3]


def test_small_and_failed_faces_keep_their_parameters():
    part = make_part("left_eye_28", IN_PARENT, IN_PART)
    params = make_params(5)
    found, parts = run(make_face(part), params, active=torch.tensor([True, True, False, False, True]))
    kept = ~parts["left_eye_28"].refined
    assert kept[2:4].all() and not kept.all()
    torch.testing.assert_close(found.globals[kept], params.globals[kept])
    assert (parts["left_eye_28"].landmark_likelihoods[kept] == -1e8).all()


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_faces_one_by_one(faces):
    model, params = make_face(make_part("left_eye_28", IN_PARENT, IN_PART)), make_params(faces)
    together, parts = run(model, params)
    for i in range(faces):
        alone, alone_parts = run(model, params[i : i + 1])
        torch.testing.assert_close(model.pdm.landmarks(alone), model.pdm.landmarks(together)[i : i + 1])
        part = parts["left_eye_28"][i : i + 1]
        torch.testing.assert_close(alone_parts["left_eye_28"].landmarks, part.landmarks)


def test_settings_are_chosen_by_name_and_do_not_change_with_the_scale():
    assert part_preset("inner").weight_factor == 2.5 and part_preset("left_eye_28").window_sizes[:2] == (3, 5)
    other = part_preset("ear")
    assert (other.sigma, other.regularisation, other.window_sizes) == (2.25, 22.5, (11, 9, 7, 5))
    assert not any(config.adapt for config in [*PART_PRESETS.values(), other])


def test_a_part_with_landmarks_that_do_not_exist_is_refused():
    with pytest.raises(ValueError, match="give pairs of landmarks that exist"):
        make_part("left_eye_28", [0], [N])
