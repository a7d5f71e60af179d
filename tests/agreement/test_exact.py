"""The exact numerics beside OpenFace's: the same maths without its lattice, grid and checkerboard lands nearby."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clnf_torch import EXACT, OPENFACE, LandmarkDetector
from tests.agreement.measure import Agreement
from tests.agreement.photographs import FRONTAL, distances, run

# Faces that look into the camera with nothing in the way. Where the experts' answers are weak, filling in every second
# cell (OpenFace's checkerboard) smooths them enough to change the outcome: biden ends in another view, 18 px away at
# most, breakingbad 7 px.
PLAIN = {"astronaut", "lenna", "obama", "obama2", "takeo"}
FITS = [fit for fit in FRONTAL if fit.image in PLAIN and "default" in fit.file]
CONTINUOUS = replace(OPENFACE, name="continuous", sample_on_32nds=False, kernel_step=None)


# Pixels. Without lattice and grid: mean 0.12, largest 0.5. Without the checkerboard as well: mean 0.69, largest 2.8.
@pytest.mark.parametrize(
    ("numerics", "mean", "largest"), [(CONTINUOUS, 0.25, 1.0), (EXACT, 1.0, 4.0)], ids=["continuous", "exact"]
)
@pytest.mark.parametrize("fit", FITS, ids=[fit.image for fit in FITS])
def test_lands_near_openface(golden, detector, read_image, agree: Agreement, fit, numerics, mean, largest):
    values, image, model = golden(fit.file), read_image(fit.image), detector(fit.model).model
    theirs = run(detector(fit.model), values, image)
    ours = run(LandmarkDetector(model, numerics), values, image)
    apart = distances(ours.landmarks, theirs.landmarks)
    agree.holds(f"numerics {numerics.name}: mean distance, px", apart.mean().item(), within=mean)
    agree.holds(f"numerics {numerics.name}: largest distance, px", apart.max().item(), within=largest)
    assert ours.view.item() == theirs.view.item()
