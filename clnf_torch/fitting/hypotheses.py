"""Several starting rotations per face, so that turned heads are found too; the most likely one is kept."""

import torch

from clnf_torch.fitting.candidates import Candidates, Choice, Rotations, SearchInput
from clnf_torch.fitting.early_termination import EarlyTerminationSearch
from clnf_torch.fitting.fitter import LandmarkFitter

FRONTAL: Rotations = ((0.0, 0.0, 0.0),)
MULTI_VIEW: Rotations = (
    (0.0, 0.0, 0.0),
    (0.0, -0.5236, 0.0),
    (0.0, 0.5236, 0.0),
    (0.0, -0.96, 0.0),
    (0.0, 0.96, 0.0),
    (0.0, 0.0, 0.5236),
    (0.0, 0.0, -0.5236),
    (0.0, -1.57, 0.0),
    (0.0, 1.57, 0.0),
    (0.0, -1.22, 0.698),
    (0.0, 1.22, -0.698),
)  # in the order that OpenFace tries them


def search_hypotheses(fitter: LandmarkFitter, rotations: Rotations, given: SearchInput) -> Choice:
    """Fit faces from several rotations of the head and keep the most likely result.

    Hypotheses are more rows of the batch. A model with early-termination numbers fits only the first scale of all of
    them; see `EarlyTerminationSearch`.

    Args:
        fitter: Fits the rows.
        rotations: The hypotheses.
        given: Pictures and boxes.

    Source:
        OpenFace ``DetectLandmarksInImageMultiHypBasic``.
    """
    rules, rest = fitter.model.early_termination, fitter.after_first_scale()
    if len(rotations) > 1 and rules is not None and rest is not None:
        return EarlyTerminationSearch(fitter.first_scale(), rest, rules).fit(rotations, given)
    hypotheses = torch.arange(len(rotations), device=given.boxes.device)
    candidates = Candidates.cross(given.faces, hypotheses)
    states = given.fit(fitter, given.start(fitter, rotations, candidates), candidates)
    return Choice.most_likely(states, candidates, (len(given.faces), len(rotations)))
