"""Mesh experts: their maps, their loops, and records that cannot be theirs."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.models import compiled
from clnf_torch.models.patch_experts.heatmap import cut_windows
from clnf_torch.models.patch_experts.mesh import MeshExperts, MeshNetwork
from clnf_torch.models.schema import Context, SchemaError
from tests.factories import seeded

N, SIDE = 20, 64


# Channels on the way back: the small network's, and those of full filters
SEPARABLE, FULL = (), (32, 32, 16, 16)


def make_network(seed: int = 3, landmarks: int = N, widths: tuple[int, ...] = SEPARABLE) -> MeshNetwork:
    """A network with random weights and slopes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MeshNetwork(landmarks, widths).requires_grad_(False)
        for name, value in network.named_parameters():
            if name.endswith(("rectify.weight", "activation.weight")):
                value.uniform_(-0.3, 0.5)
    return network


def make_mesh(network: MeshNetwork | None = None) -> MeshExperts:
    network = network or make_network()
    seen = torch.ones(1, network.landmarks, dtype=torch.bool)
    return MeshExperts(0.225, torch.zeros(1, 3), seen, torch.ones(1, network.landmarks), SIDE, network)


def make_areas(faces: int) -> torch.Tensor:
    return 255 * torch.rand(faces, SIDE, SIDE, generator=seeded(4))


def in_torch(monkeypatch: pytest.MonkeyPatch, experts: MeshExperts, areas: torch.Tensor) -> torch.Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(MeshNetwork, "has_loops_for", lambda *_: False)
        return experts.maps(areas)


@pytest.mark.parametrize("widths", [SEPARABLE, FULL])
@pytest.mark.parametrize("faces", [1, 5])
def test_loops_give_the_maps_of_the_torch_form(monkeypatch, faces, widths):
    if compiled.kernels() is None:
        pytest.skip("no compiler")
    experts, areas = make_mesh(make_network(widths=widths)), make_areas(faces)
    areas[-1] = 100.3
    assert experts.network.has_loops_for(areas)
    found, expected = experts.maps(areas), in_torch(monkeypatch, experts, areas)
    assert found.shape == (faces, N, SIDE // 4, SIDE // 4)
    # Sums in another order; a heatmap is 1 in all
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(found.sum((-2, -1)), torch.ones(faces, N))
    middle, parts = torch.randint(SIDE // 4, (faces, N, 2), generator=seeded(5)), torch.empty(faces, N, 5, 5)
    experts.network.fill_windows(areas, middle, parts)
    assert torch.equal(parts, cut_windows(found, middle, 5))


def test_batch_normalisation_is_fused_into_full_filters():
    """Trained networks have it, their bundles do not; slopes of the rectifiers stay."""
    trained = MeshNetwork(N, FULL, normalised=True).requires_grad_(False)
    trained.load_state_dict(make_network(widths=FULL).state_dict(), strict=False)
    areas = make_areas(4)
    trained.train()(areas)
    trained.up[0][1].weight.uniform_(0.5, 2, generator=seeded(5))
    expected, fused = trained.eval()(areas), trained.fuse_batchnorm()
    assert not trained.has_loops_for(areas) and not fused.normalised
    torch.testing.assert_close(fused(areas), expected, atol=1e-4, rtol=1e-4)
    experts = make_mesh(fused)
    back = MeshExperts.from_record(experts.to_record(), torch.float32)
    assert back.network.back == FULL
    # Bundles hold halves
    torch.testing.assert_close(back.maps(areas), experts.maps(areas), atol=1e-3, rtol=0.02)


def test_few_landmarks_are_left_to_torch():
    """Products of the loops have as many columns as fill a vector."""
    experts, areas = make_mesh(make_network(landmarks=3)), make_areas(2)
    assert not experts.network.has_loops_for(areas)
    torch.testing.assert_close(experts.maps(areas).sum((-2, -1)), torch.ones(2, 3))


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_loops_keep_what_is_no_number(value):
    """Wherever it lies among two by two cells, as torch's maxima and rectifiers do."""
    if compiled.kernels() is None:
        pytest.skip("no compiler")
    from clnf_torch.models.kernels.cpu.mesh import maxima, rectify

    for place in range(4):
        maps = torch.randn(1, 4, 4, 16, generator=seeded(place))
        maps[0, 1 + place // 2, 1 + place % 2, 5] = value
        expected = torch.nn.functional.max_pool2d(maps[:, 1:3, 1:3].permute(0, 3, 1, 2), 2)[0, :, 0, 0]
        found = torch.from_numpy(maxima(maps.numpy(), 16))[0, 1, 1]
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
        slopes = torch.rand(16, generator=seeded(9))
        rectified = torch.nn.functional.prelu(maps.permute(0, 3, 1, 2), slopes).permute(0, 2, 3, 1)
        rectify(maps.numpy().reshape(-1), slopes.numpy())
        torch.testing.assert_close(maps, rectified, rtol=0, atol=0, equal_nan=True)


def test_changed_weights_are_packed_anew(monkeypatch):
    experts, areas = make_mesh(), make_areas(1)
    before = experts.maps(areas)
    experts.network.rectify.weight.mul_(2)
    found = experts.maps(areas)
    torch.testing.assert_close(found, in_torch(monkeypatch, experts, areas), atol=1e-5, rtol=1e-3)
    assert not torch.equal(found, before)


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_images_that_cannot_be_seen_spare_the_others(monkeypatch, loops, value):
    if not loops:
        monkeypatch.setattr(MeshNetwork, "has_loops_for", lambda *_: False)
    experts, areas = make_mesh(), make_areas(4)
    expected = experts.maps(areas)
    areas[1] = value
    found = experts.maps(areas)
    assert found[1].isnan().all() and torch.equal(found[[0, 2, 3]], expected[[0, 2, 3]])


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_face_is_the_same_alone_and_among_others(monkeypatch, loops, threads):
    if not loops:
        monkeypatch.setattr(MeshNetwork, "has_loops_for", lambda *_: False)
    experts, areas, before = make_mesh(), make_areas(40), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = experts.maps(areas)
        for row in (0, 17, 39):
            assert torch.equal(experts.maps(areas[row : row + 1])[0], together[row])
    finally:
        torch.set_num_threads(before)


def test_brightness_and_contrast_are_lost():
    experts, areas = make_mesh(), make_areas(2)
    torch.testing.assert_close(experts.maps(areas), experts.maps(0.5 * areas + 40), atol=1e-5, rtol=1e-3)


def test_gradients_reach_image_and_weights():
    experts = make_mesh(make_network().requires_grad_())
    areas = make_areas(2).requires_grad_()
    experts.maps(areas).square().sum().backward()
    assert areas.grad.abs().sum() > 0
    assert all(value.grad is not None for value in experts.network.parameters())


@pytest.mark.parametrize("width", [0, 100, 1 << 13, "wide"])
def test_areas_that_the_network_cannot_halve_are_refused(width):
    record, context = make_mesh().to_record(), Context({"N": N})
    MeshExperts.check_record(record, "experts", context)
    with pytest.raises(SchemaError, match=r"experts\.width"):
        MeshExperts.check_record({**record, "width": width}, "experts", context)


@pytest.mark.parametrize("widths", [(32,), (32, 32, 16, 0), (32, 32, 16, 1 << 12), "many"])
def test_channels_that_cannot_be_are_refused(widths):
    record, context = make_mesh(make_network(widths=FULL)).to_record(), Context({"N": N})
    MeshExperts.check_record(record, "experts", context)
    with pytest.raises(SchemaError, match=r"experts\.widths"):
        MeshExperts.check_record({**record, "widths": widths}, "experts", context)


def test_other_weights_are_refused():
    record, context = make_mesh().to_record(), Context({"N": N})
    weights = {**record["network"], "head.weight": torch.zeros(N + 1, 40, 1, 1)}
    with pytest.raises(SchemaError, match=r"head\.weight"):
        MeshExperts.check_record({**record, "network": weights}, "experts", context)
