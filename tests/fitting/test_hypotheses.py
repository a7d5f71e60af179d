"""`clnf_torch.fitting.hypotheses`: the search over rotations, against one hypothesis after the other."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.hypotheses import FRONTAL, MULTI_VIEW, cross, most_likely, search_hypotheses, start_in_boxes
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT, OPENFACE, Numerics
from tests.factories import CONFIG, N, make_boxes, make_images, make_model, make_params, make_rules
from tests.fitting.test_fitter import NaiveFit, naive_fit
from tests.fitting.test_nu_rlms import same

ROTATIONS = ((0.0, 0.0, 0.0), (0.0, -0.5236, 0.0), (0.0, 0.5236, 0.0), (0.0, 0.0, 0.4), (0.1, -0.9, -0.4))
FIRST, REST = replace(CONFIG, window_sizes=(5, 0)), replace(CONFIG, window_sizes=(0, 3))


def naive_search(
    model: LandmarkModel, image: torch.Tensor, box: torch.Tensor, numerics: Numerics
) -> tuple[NaiveFit, int, bool]:
    """One face, one rotation after the other, as OpenFace does: fit, hypothesis, success."""

    def start(k: int):
        return params_from_box(model.pdm, box[None], torch.tensor([ROTATIONS[k]], dtype=box.dtype))

    rules, count = model.early_termination, len(ROTATIONS)
    if rules is None:
        fits = [naive_fit(model, image, start(k), CONFIG, numerics) for k in range(count)]
        best = max(range(count), key=lambda k: (fits[k].likelihood, -k))
        return fits[best], best, fits[best].success
    firsts: list[NaiveFit] = []
    scores: list[float] = []
    for k in range(count):
        first = naive_fit(model, image, start(k), FIRST, numerics)
        weight, bias, cutoff = rules[:, first.view].tolist()
        firsts.append(first)
        scores.append(first.likelihood * weight + bias)
        if scores[-1] > cutoff:
            whole = go_on(model, image, first, numerics, forget=False)
            return whole, k, whole.success
    ranked = sorted(range(count), key=lambda k: -scores[k])[:3]
    wholes = [go_on(model, image, firsts[k], numerics, numerics.quirks and k != count - 1) for k in ranked]
    place = max(range(3), key=lambda r: (wholes[r].likelihood, -ranked[r]))
    success = wholes[-1].success if numerics.quirks else wholes[place].success
    return wholes[place], ranked[place], success


def go_on(model: LandmarkModel, image: torch.Tensor, first: NaiveFit, numerics: Numerics, forget: bool) -> NaiveFit:
    """The remaining scales after the first; from the mean shape where OpenFace has forgotten the face's own."""
    params = replace(first.params, local=torch.zeros_like(first.params.local)) if forget else first.params
    if first.success:
        return naive_fit(model, image, params, REST, numerics)
    return replace(first, params=params)


def search(model, images, boxes, numerics, rotations=ROTATIONS, image_index=None, **given) -> tuple[FitState, FitState]:
    image_index = torch.zeros(len(boxes), dtype=torch.int64) if image_index is None else image_index
    known = FitState.at(params_from_box(model.pdm, boxes, torch.zeros_like(boxes[:, :3])), N, **given)
    fitter = LandmarkFitter(model, CONFIG, numerics)
    return search_hypotheses(fitter, rotations, ImageBatch(images, image_index), boxes, known)


def mixed_boxes(faces: int) -> torch.Tensor:
    """Boxes of faces from too small to large."""
    boxes = make_boxes(faces)
    boxes[::2, 2:] = torch.linspace(13, 22, len(boxes[::2]), dtype=torch.float64)[:, None]
    return boxes


def check(found: tuple[FitState, FitState], model, image, boxes, numerics) -> None:
    kept, verdict = found
    for i, box in enumerate(boxes):
        expected, hypothesis, success = naive_search(model, image, box, numerics)
        assert kept.hypothesis[i].item() == hypothesis
        assert verdict.active[i].item() == success
        same(kept.params[i : i + 1], expected.params, atol=1e-7, rtol=1e-6)
        assert kept.likelihood[i].item() == pytest.approx(expected.likelihood, abs=1e-6)
        assert kept.view[i].item() == expected.view


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
def test_without_early_termination_the_most_likely_wins(numerics):
    model, images, boxes = make_model(), make_images(), mixed_boxes(6)
    kept, verdict = search(model, images, boxes, numerics)
    assert verdict is kept
    check((kept, verdict), model, images[0], boxes, numerics)
    assert len(kept.hypothesis.unique()) > 1


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
@pytest.mark.parametrize("cutoff", [-math.inf, -0.4, -0.2, math.inf])
def test_early_termination(numerics, cutoff):
    model, images, boxes = make_model(rules=make_rules(cutoff=cutoff)), make_images(), mixed_boxes(8)
    kept, verdict = search(model, images, boxes, numerics)
    check((kept, verdict), model, images[0], boxes, numerics)
    if cutoff == -math.inf:
        assert (kept.hypothesis == 0).all()


@pytest.mark.parametrize("seed", [50, 60, 70])
def test_early_termination_of_other_models(seed):
    model, boxes = make_model(rules=make_rules(cutoff=-0.3), seed=seed), mixed_boxes(3)
    images = make_images()
    check(search(model, images, boxes, OPENFACE), model, images[0], boxes, OPENFACE)


def test_openface_reports_the_success_of_the_candidate_continued_last():
    """Near the smallest size some candidates fail and others do not; the winner's success may differ."""
    model, boxes = make_model(rules=make_rules(cutoff=math.inf)), make_boxes(40)
    boxes[:, 2:] = torch.linspace(14, 19, 40, dtype=torch.float64)[:, None]
    kept, verdict = search(model, make_images(), boxes, OPENFACE)
    assert (verdict.active != kept.active).any()
    kept, verdict = search(model, make_images(), boxes, EXACT)
    assert verdict is kept


@pytest.mark.parametrize("rules", [None, make_rules(cutoff=-0.3)], ids=["all", "early"])
@pytest.mark.parametrize("faces", [0, 1, 5])
def test_faces_one_by_one_and_in_another_order(rules, faces):
    model, images, boxes = make_model(rules=rules), make_images(2), make_boxes(faces)
    image_index = torch.arange(faces) % 2
    together, verdict = search(model, images, boxes, OPENFACE, MULTI_VIEW, image_index)
    assert verdict.active.shape == (faces,) and together.landmark_likelihoods.shape == (faces, 5)
    back, _ = search(model, images, boxes.flip(0), OPENFACE, MULTI_VIEW, image_index.flip(0))
    same(back.params, together.params[torch.arange(faces).flip(0)])
    for i in range(faces):
        row = slice(i, i + 1)
        alone, _ = search(model, images, boxes[row], OPENFACE, MULTI_VIEW, image_index[row])
        same(alone.params, together.params[row])
        assert alone.hypothesis.item() == together.hypothesis[i].item()


@pytest.mark.parametrize("rules", [None, make_rules(cutoff=-0.3), make_rules(cutoff=math.inf)])
@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
def test_unusable_boxes_and_images_spare_the_others(rules, numerics):
    model, images, boxes = make_model(rules=rules), make_images(2), make_boxes(4)
    image_index = torch.tensor([0, 0, 1, 0])
    expected, _ = search(model, images, boxes, numerics, image_index=image_index)
    images[1], boxes[1] = math.nan, math.nan
    kept, verdict = search(model, images, boxes, numerics, image_index=image_index)
    assert not verdict.active[1:3].any()
    same(kept.params[torch.tensor([0, 3])], expected.params[torch.tensor([0, 3])])
    assert kept.hypothesis[::3].tolist() == expected.hypothesis[::3].tolist()


@pytest.mark.parametrize("weight", [-1.0, 0.0])
def test_candidates_that_could_not_be_read_never_end_the_search(weight):
    """Their likelihood is minus infinity, whatever the early-termination numbers make of it."""
    rules = make_rules(cutoff=1e6)
    model, images, box = (
        make_model(rules=torch.cat((torch.full_like(rules[:1], weight), rules[1:]))),
        make_images(),
        make_boxes(1),
    )
    images[:, :, :16] = math.nan  # some rotations look there, others do not
    box[:, 0] = 22
    _, verdict = search(model, images, box, EXACT, MULTI_VIEW)
    alone = [search(model, images, box, EXACT, (rotation,))[1].active.item() for rotation in MULTI_VIEW]
    assert True in alone and False in alone
    assert verdict.active.item()


def test_hidden_landmarks_follow_their_faces():
    model, images, boxes = make_model(), make_images(), make_boxes(2)
    visible = torch.ones(2, 5, dtype=torch.bool)
    visible[1, 0] = False
    kept, _ = search(model, images, boxes, EXACT, hidden=~visible)
    plain, _ = search(model, images, boxes, EXACT)
    same(kept.params[:1], plain.params[:1])
    assert not kept.visible[1, 0] and kept.visible[0, 0]


def test_openfaces_rotations():
    assert FRONTAL == ((0.0, 0.0, 0.0),) and len(MULTI_VIEW) == 11 and MULTI_VIEW[:1] == FRONTAL


def test_faces_and_hypotheses_are_crossed_face_by_face():
    face, hypothesis = cross(torch.tensor([0, 2]), torch.tensor([1, 3]))
    assert face.tolist() == [0, 0, 2, 2] and hypothesis.tolist() == [1, 3, 1, 3]


def chosen(likelihoods: list[list[float]]) -> list[int]:
    """The hypotheses chosen for faces with these likelihoods."""
    values = torch.tensor(likelihoods, dtype=torch.float64)
    face, hypothesis = cross(*(torch.arange(count) for count in values.shape))
    state = replace(FitState.at(make_params(values.numel()), N), likelihood=values.flatten(), hypothesis=hypothesis)
    kept = most_likely(state, face, tuple(values.shape))
    rows = torch.arange(len(values)) * values.shape[1] + kept.hypothesis
    torch.testing.assert_close(kept.params.globals, state.params.globals[rows])
    return kept.hypothesis.tolist()


def test_the_most_likely_is_chosen_and_the_first_of_equals():
    assert chosen([[-3.0, -1.0, -2.0], [-1.0, -1.0, -1.0]]) == [1, 0]


def test_candidates_without_a_likelihood_lose():
    assert chosen([[math.nan, -9.0], [-math.inf, -9.0], [math.nan, -math.inf], [-math.inf, math.nan]]) == [1, 1, 0, 0]


@pytest.mark.parametrize("graph", [torch.enable_grad, torch.inference_mode])
def test_starts_are_those_of_the_boxes_also_when_the_shape_model_changes(graph):
    pdm, boxes, hypothesis = make_model().pdm, make_boxes(3).float(), torch.tensor([2, 0, 4])
    pdm, boxes = pdm.float(), torch.cat((boxes[:2], boxes[2:] * torch.nan))
    for _ in range(2):
        with graph():
            found = start_in_boxes(pdm, boxes, ROTATIONS, hypothesis)
            same(found.params[:2], params_from_box(pdm, boxes, torch.tensor(ROTATIONS)[hypothesis])[:2])
        assert found.active.tolist() == [True, True, False]
        pdm.mean.mul_(2)
