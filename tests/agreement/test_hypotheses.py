"""The eleven rotation hypotheses of a turned face against OpenFace's: scores, who goes on, from where, who wins."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from clnf_torch import OPENFACE, LandmarkModel, ShapeParams
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.hypotheses import MULTI_VIEW as ROTATIONS
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.geometry.records import join_rows
from tests.agreement.golden import Golden
from tests.agreement.measure import Agreement
from tests.agreement.photographs import MULTI_VIEW, config_of, distances, run, winner

FIT = next(fit for fit in MULTI_VIEW if fit.image == "breakingbad")  # no hypothesis ends the search early here
FINALISTS = [10, 2, 4]  # in the order of their scores after the first scale
# Log-likelihoods after a whole scale: a landmark that moves by 0.1 px changes them by about this much.
WITHIN_LIKELIHOOD = 0.02


class Race(NamedTuple):
    """Every hypothesis after the first scale, and what it takes to go on."""

    golden: Golden
    model: LandmarkModel
    fitter: LandmarkFitter
    image: Tensor
    states: FitState  # 11 rows

    def go_on(self, start: ShapeParams) -> FitState:
        """The other scales."""
        rest = self.fitter.after_first_scale()
        return rest.fit(self.images(len(start)), FitState.at(start, self.model.pdm.num_landmarks))

    def images(self, rows: int) -> ImageBatch:
        """The image for so many rows."""
        return ImageBatch(self.image, torch.zeros(rows, dtype=torch.int64))


@pytest.fixture(scope="module")
def race(golden, detector, read_image) -> Race:
    values, model = golden(FIT.file), detector(FIT.model).model
    fitter = LandmarkFitter(model, config_of(values), OPENFACE)
    start = params_from_box(model.pdm, values["bbox"].expand(len(ROTATIONS), -1), torch.tensor(ROTATIONS))
    state = FitState.at(start, model.pdm.num_landmarks)
    unfitted = Race(values, model, fitter, read_image(FIT.image), state)
    states = fitter.first_scale().fit(unfitted.images(len(ROTATIONS)), state)
    return unfitted._replace(states=states)


def of_each_hypothesis(values: Golden, key: str) -> Tensor:
    """A number of every hypothesis, shape (11,)."""
    return torch.cat([values.below(f"hyp{k}")[key] for k in range(len(ROTATIONS))])


def resumed(values: Golden) -> ShapeParams:
    """OpenFace's parameters of the finalists when they go on."""
    rest = [values.below(f"hyp{k}/rest") for k in FINALISTS]
    return join_rows(*(part.params("resume_global", "resume_local") for part in rest))


def test_first_scale_of_every_hypothesis(race, agree: Agreement):
    theirs = of_each_hypothesis(race.golden, "first_model_likelihood")
    agree.absolute("hypotheses: likelihood", race.states.likelihood, theirs, within=WITHIN_LIKELIHOOD)
    assert race.states.view.tolist() == of_each_hypothesis(race.golden, "first_view_used").tolist()


def test_scores(race, agree: Agreement):
    rules, view = race.model.early_termination, race.states.view
    weight, bias, cutoff = rules[:, view]
    scores = race.states.likelihood * weight + bias
    theirs = of_each_hypothesis(race.golden, "first_scaled_likelihood")
    agree.absolute("hypotheses: score", scores, theirs, within=WITHIN_LIKELIHOOD)
    assert (scores <= cutoff).all() and not race.golden.number("early_term")
    ranks = {int(race.golden.number(f"hyp{k}/rest/rank")): k for k in FINALISTS}
    assert scores.argsort(descending=True)[:3].tolist() == FINALISTS == [ranks[rank] for rank in range(3)]


def test_finalists_keep_their_pose_and_forget_their_shape(race, agree: Agreement):
    theirs, ours = resumed(race.golden), race.states.params[torch.tensor(FINALISTS)]
    apart = distances(race.model.pdm.landmarks(replace(ours, local=theirs.local)), race.model.pdm.landmarks(theirs))
    agree.holds("hypotheses: distance of resumed faces, px", apart.max().item(), within=0.6)
    forgotten = [k for k, local in zip(FINALISTS, theirs.local, strict=True) if not local.any()]
    assert forgotten == [2, 4]  # all but the last one tried


def test_finalists_from_openfaces_state(race, agree: Agreement):
    states = race.go_on(resumed(race.golden))
    rest = [race.golden.below(f"hyp{k}/rest/main") for k in FINALISTS]
    landmarks = torch.cat([part.points("landmarks_after_fit") for part in rest])
    apart = distances(race.model.pdm.landmarks(states.params), landmarks)
    agree.holds("hypotheses: finalists' landmarks, px", apart.max().item(), within=0.6)
    likelihoods = torch.cat([part["model_likelihood"] for part in rest])
    agree.absolute("hypotheses: likelihood", states.likelihood, likelihoods, within=WITHIN_LIKELIHOOD)
    assert FINALISTS[states.likelihood.argmax()] == race.golden.number("chosen_hypothesis")


def test_the_search_forgets_shapes_as_openface_does(race, detector):
    result = run(detector(FIT.model), race.golden, race.image)
    params = race.states.params[torch.tensor(FINALISTS)]
    forgotten = torch.tensor([[False], [True], [True]])
    by_hand = race.go_on(replace(params, local=torch.where(forgotten, 0, params.local)))
    best = by_hand.likelihood.argmax()
    assert result.hypothesis.item() == FINALISTS[best]
    torch.testing.assert_close(result.landmarks[0], race.model.pdm.landmarks(by_hand.params)[best], rtol=0, atol=1e-2)
    remembered = race.model.pdm.landmarks(race.go_on(params).params)[best]
    assert distances(remembered, winner(race.golden).points("landmarks_after_fit")[0]).mean() > 1


def test_openface_reports_the_success_of_the_last_candidate(race):
    """Its validation calls the first two finalists faces and the third, which wins here, none: so does the result."""
    values, last = race.golden, race.golden.below(f"hyp{FINALISTS[-1]}/rest")
    assert [int(values.number(f"hyp{k}/rest/success")) for k in FINALISTS] == [1, 1, 0]
    assert values.number("success") == last.number("success") == 0
    assert values.number("detection_certainty") == last.number("main/detection_certainty")
