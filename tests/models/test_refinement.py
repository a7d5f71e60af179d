"""`clnf_torch.models.refinement`: landmarks between the fitted shape and the centroids of responses at some scales."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.refinement import Refinement
from clnf_torch.models.schema import Context, SchemaError
from tests.factories import seeded

N, K = 5, 2


def make_refinement() -> Refinement:
    rng = seeded(1)
    share, shape = torch.rand(K, N, generator=rng) / K, torch.randn(N, 2, generator=rng)
    return Refinement(share.double(), shape.double(), torch.randn(K, N, 2, generator=rng).double())


def make_faces(faces: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = seeded(2)
    shape = 50 * torch.rand(faces, N, 2, generator=rng, dtype=torch.float64)
    turn, size = torch.randn(2, faces, generator=rng, dtype=torch.float64)
    size = size.exp()
    rows = (size * turn.cos(), -size * turn.sin(), size * turn.sin(), size * turn.cos())
    centroids = shape[:, None] + torch.randn(faces, K, N, 2, generator=rng)
    return shape, centroids, torch.stack(rows, -1).unflatten(-1, (2, 2))


def test_every_landmark_is_the_mean_of_all_with_their_offsets():
    refinement, (shape, centroids, to_image) = make_refinement(), make_faces()
    found = refinement(shape, centroids, to_image)
    for face in range(3):
        for n in range(N):
            expected = (1 - refinement.share[:, n].sum()) * _placed(shape, refinement.shape_offset, to_image, face, n)
            for k in range(K):
                own = _placed(centroids[:, k], refinement.centroid_offset[k], to_image, face, n)
                expected = expected + refinement.share[k, n] * own
            torch.testing.assert_close(found[face, n], expected)


def _placed(points, offset, to_image, face: int, n: int) -> torch.Tensor:
    return points[face, n] + to_image[face] @ offset[n]


def test_the_neutral_one_gives_the_centroids_of_its_coarsest_scale():
    shape, centroids, to_image = make_faces()
    for scales in (1, 2):
        some = centroids[:, -scales:]
        found = Refinement.of_centroids(N, shape, scales)(shape, some, to_image)
        torch.testing.assert_close(found, some[:, 0])


def test_the_shape_takes_the_share_of_an_empty_map():
    refinement, (shape, centroids, to_image) = make_refinement(), make_faces()
    centroids[1, 0, 2] = torch.nan
    found, share = refinement(shape, centroids, to_image), refinement.share[1, 2]
    one = _placed(shape, refinement.shape_offset, to_image, 1, 2)
    other = _placed(centroids[:, 1], refinement.centroid_offset[1], to_image, 1, 2)
    torch.testing.assert_close(found[1, 2], (1 - share) * one + share * other)


def test_a_landmark_without_centroids_stays_the_shapes_and_sends_gradients():
    refinement, (shape, centroids, to_image) = make_refinement().requires_grad_(), make_faces()
    centroids[1, :, 2] = torch.nan
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
    known = torch.tensor([[True, True, True]])
    found = field.centroids(known)
    # Two columns to the right and one row up, turned by 90 degrees and doubled
    torch.testing.assert_close(found[0, 0], base[0, 0] + torch.tensor([2.0, 4.0]).double())
    torch.testing.assert_close(found[0, 1], base[0, 1] + torch.tensor([0.0, 1.0]).double())
    assert bool(found[0, 2].isnan().all())
    assert bool(field.centroids(torch.tensor([[False, True, True]]))[0, 0].isnan().all())
    found[0, :2].sum().backward()
    assert bool(responses.grad.isfinite().all())


def test_records_come_back():
    refinement = make_refinement()
    record = refinement.to_record()
    Refinement.check_record(record, "here", Context({"N": N}), K)
    again = Refinement.from_record(record, torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(refinement.parameters(), again.parameters(), strict=True))


def test_records_of_one_scale_alone_come_back():
    record = {"share": torch.rand(N), "shape_offset": torch.randn(N, 2), "centroid_offset": torch.randn(N, 2)}
    Refinement.check_record(record, "here", Context({"N": N}), K)
    (shape, centroids, to_image), made = make_faces(), Refinement.from_record(record, torch.float64)
    assert made.scales == 1
    assert torch.equal(made.centroid_offset[0], record["centroid_offset"].double())
    assert made(shape, centroids[:, :1], to_image).shape == shape.shape


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", torch.full((K, N), 1.5)),
        ("share", torch.zeros(K + 1, N)),
        ("shape_offset", torch.full((N, 2), 99.0)),
        ("centroid_offset", torch.ones(K, N)),
        ("centroid_offset", torch.ones(K - 1, N, 2)),
    ],
)
def test_damaged_records_are_refused(name, value):
    with pytest.raises(SchemaError, match=rf"here\.{name}"):
        Refinement.check_record(make_refinement().to_record() | {name: value.double()}, "here", Context({"N": N}), K)
