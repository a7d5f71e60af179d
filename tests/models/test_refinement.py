"""`clnf_torch.models.refinement`: landmarks between the fitted shape and the centroids of the responses."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.refinement import Refinement
from clnf_torch.models.schema import Context, SchemaError
from tests.factories import seeded

N = 5


def make_refinement() -> Refinement:
    rng = seeded(1)
    share, shape, centroids = torch.rand(N, generator=rng), torch.randn(N, 2, generator=rng), torch.randn(N, 2)
    return Refinement(share.double(), shape.double(), centroids.double())


def make_faces(faces: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = seeded(2)
    shape = 50 * torch.rand(faces, N, 2, generator=rng, dtype=torch.float64)
    turn, size = torch.randn(2, faces, generator=rng, dtype=torch.float64)
    size = size.exp()
    rows = (size * turn.cos(), -size * turn.sin(), size * turn.sin(), size * turn.cos())
    return shape, shape + torch.randn(faces, N, 2, generator=rng), torch.stack(rows, -1).unflatten(-1, (2, 2))


def test_every_landmark_is_the_mean_of_both_with_their_offsets():
    refinement, (shape, centroids, to_image) = make_refinement(), make_faces()
    found = refinement(shape, centroids, to_image)
    for face in range(3):
        for n in range(N):
            share = refinement.share[n]
            one = shape[face, n] + to_image[face] @ refinement.shape_offset[n]
            other = centroids[face, n] + to_image[face] @ refinement.centroid_offset[n]
            torch.testing.assert_close(found[face, n], (1 - share) * one + share * other)


def test_the_neutral_one_gives_the_centroids():
    shape, centroids, to_image = make_faces()
    torch.testing.assert_close(Refinement.of_centroids(N, shape)(shape, centroids, to_image), centroids)


def test_a_landmark_without_centroid_stays_the_shapes_and_sends_gradients():
    refinement, (shape, centroids, to_image) = make_refinement().requires_grad_(), make_faces()
    centroids[1, 2] = torch.nan
    found = refinement(shape.requires_grad_(), centroids, to_image)
    assert torch.equal(found[1, 2], shape[1, 2])
    assert bool((found[1, 3] != shape[1, 3]).all())
    found.sum().backward()
    for values in (shape, *refinement.parameters()):
        assert bool(values.grad.isfinite().all())


def test_gradients_are_those_of_finite_differences():
    refinement, faces = make_refinement().requires_grad_(), make_faces()
    inputs = [values.requires_grad_() for values in faces]
    assert torch.autograd.gradcheck(lambda *given: refinement(*given), inputs)


def test_centroids_are_where_the_mass_lies():
    responses = torch.zeros(1, 3, 5, 5, dtype=torch.float64)
    responses[0, 0, 1, 4] = 2.0
    responses[0, 1, 2, 2] = responses[0, 1, 2, 3] = 0.5
    to_image = torch.tensor([[[0.0, -2.0], [2.0, 0.0]]], dtype=torch.float64)
    base = torch.tensor([[[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]], dtype=torch.float64)
    field = ResponseField(
        responses=responses.requires_grad_(), base=base, to_reference=to_image.inverse(), to_image=to_image,
        weight=torch.ones(1, 3),
    )  # fmt: skip
    found = field.centroids()
    # Two columns to the right and one row up, turned by 90 degrees and doubled
    torch.testing.assert_close(found[0, 0], base[0, 0] + torch.tensor([2.0, 4.0]).double())
    torch.testing.assert_close(found[0, 1], base[0, 1] + torch.tensor([0.0, 1.0]).double())
    assert bool(found[0, 2].isnan().all())
    found[0, :2].sum().backward()
    assert bool(responses.grad.isfinite().all())


def test_records_come_back():
    refinement = make_refinement()
    record = refinement.to_record()
    Refinement.check_record(record, "here", Context({"N": N}))
    again = Refinement.from_record(record, torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(refinement.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [("share", torch.full((N,), 1.5)), ("shape_offset", torch.full((N, 2), 99.0)), ("centroid_offset", torch.ones(N))],
)
def test_damaged_records_are_refused(name, value):
    with pytest.raises(SchemaError, match=rf"here\.{name}"):
        Refinement.check_record(make_refinement().to_record() | {name: value.double()}, "here", Context({"N": N}))
