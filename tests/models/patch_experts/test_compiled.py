"""`clnf_torch.models.compiled` and its loops: against the torch forms, which define how experts respond."""

from __future__ import annotations

import pytest
import torch

import clnf_torch
from clnf_torch.models import compiled
from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts, cut_windows
from clnf_torch.models.patch_experts.unet import UNet
from tests.factories import N, make_experts, make_stack, seeded
from tests.models.patch_experts.template_factories import make_ccnf, make_svr

pytest.importorskip("numba", reason="the compiled loops need numba")

# Of responses from 0 to 1. Both forms are rounded to float32, each in its order. Measured: 1e-5
WITHIN = 1e-4


def both(monkeypatch, run):
    """What a function gives with the compiled loops, and what without."""
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "kernels", lambda: None)
        torch_form = run()
    assert compiled.kernels() is not None
    return run(), torch_form


def make_areas(faces: int, landmarks: int, width: int) -> torch.Tensor:
    return 255 * torch.rand(faces, landmarks, width, width, generator=seeded(4))


def make_wide(dtype: torch.dtype = torch.float32) -> CENExperts:
    """Networks of layers that fill vectors and layers that do not; two landmarks share the first expert."""
    names = ["relu", "linear", "relu", "sigmoid", "sigmoid"]
    stack = make_stack(3, (25, 40, 16, 7, 33, 1), names, 5, dtype)
    for weight in stack.weights:
        weight.data /= weight.shape[1] ** 0.5
    table, seen = torch.tensor([[1, 0, 1, -1, 2]]), torch.tensor([[True, True, True, False, True]])
    flipped = torch.tensor([[False, True, True, False, False]])
    return CENExperts(0.25, 5, torch.zeros(1, 3), seen, torch.ones(1, N), table, flipped, [stack])


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
@pytest.mark.parametrize("window", [1, 3, 11])
@pytest.mark.parametrize("faces", [0, 1, 3])
def test_cen(monkeypatch, numerics, window, faces):
    for experts, views in ((make_wide(), 1), (make_experts(support=5, dtype=torch.float32), 3)):
        areas = make_areas(faces, N, window + 4)
        for view in range(views):
            found, expected = both(monkeypatch, lambda: experts.respond(areas, view, numerics))  # noqa: B023
            torch.testing.assert_close(found, expected, atol=WITHIN, rtol=0)


def test_cen_of_half_precision(monkeypatch):
    experts, areas = make_wide(torch.float16), make_areas(2, N, 9)
    found, expected = both(monkeypatch, lambda: experts.respond(areas, 0, OPENFACE))
    torch.testing.assert_close(found, expected, atol=WITHIN, rtol=0)


def test_half_precision_is_widened_exactly():
    from clnf_torch.models.kernels.cpu.weights import widen

    every = torch.arange(-(1 << 15), 1 << 15).to(torch.int16)
    found = torch.empty(len(every))
    widen(every.numpy(), found.numpy())
    torch.testing.assert_close(found, every.view(torch.float16).float(), atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("make", [make_ccnf, make_svr])
@pytest.mark.parametrize("weight_type", [torch.float32, torch.float16])
@pytest.mark.parametrize(("support", "window"), [(3, 1), (3, 3), (3, 5), (11, 5), (3, 9)])
@pytest.mark.parametrize("faces", [0, 1, 30])
def test_templates(monkeypatch, make, weight_type, support, window, faces):
    experts, areas = make(support, torch.float32, weight_type), make_areas(faces, N, window + support - 1)
    if faces:
        areas[-1] = 100.3
    for view in range(3):
        found, expected = both(monkeypatch, lambda: experts.respond(areas, view, OPENFACE))  # noqa: B023
        torch.testing.assert_close(found, expected, atol=WITHIN, rtol=WITHIN)
        for i in range(0, faces, 29):
            assert torch.equal(experts.respond(areas[i : i + 1], view, OPENFACE)[0], found[i])


@pytest.mark.parametrize("make", [make_ccnf, make_svr])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_areas_that_cannot_be_seen_spare_the_others(make, value):
    experts, areas = make(3, torch.float32), make_areas(3, N, 7)
    expected = experts.respond(areas, 0, OPENFACE)
    areas[1] = value
    found = experts.respond(areas, 0, OPENFACE)
    assert torch.equal(found[[0, 2]], expected[[0, 2]]) and found[1].isnan().any()


def make_unet(widths: tuple[int, ...] = (17, 24, 48), landmarks: int = 20, seed: int = 7) -> UNet:
    """A network of plain convolutions, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet(landmarks, widths, normalised=False).requires_grad_(False)


def make_heatmap(network: UNet, width: int = 24) -> HeatmapExperts:
    seen = torch.ones(1, network.landmarks, dtype=torch.bool)
    return HeatmapExperts(0.25, torch.zeros(1, 3), seen, torch.ones(1, network.landmarks), width, network)


@pytest.mark.parametrize("widths", [(16,), (17, 24, 48), (16, 16, 100)])
@pytest.mark.parametrize("faces", [1, 6])
def test_heatmaps(monkeypatch, widths, faces):
    experts, areas = make_heatmap(make_unet(widths)), make_areas(faces, 1, 24)[:, 0]
    areas[-1] = 100.3
    found, expected = both(monkeypatch, lambda: experts.maps(areas))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found.sum((-2, -1)), torch.ones(faces, 20))


@pytest.mark.parametrize("window", [1, 7, 15])
@pytest.mark.parametrize("faces", [1, 6])
def test_windows_are_parts_of_the_heatmaps(window, faces):
    network, areas = make_unet(), make_areas(faces, 1, 24)[:, 0]
    middle = torch.randint(12, (faces, 20, 2), generator=seeded(5))
    found = torch.empty(faces, 20, window, window)
    network.fill_windows(areas, middle, found)
    assert torch.equal(found, cut_windows(make_heatmap(network).maps(areas), middle, window))


def test_heatmaps_of_changed_and_moved_weights(monkeypatch):
    experts, areas = make_heatmap(make_unet()), make_areas(1, 1, 24)[:, 0]
    before = experts.maps(areas)
    with torch.no_grad():
        experts.network.head.weight.mul_(2)
    found, expected = both(monkeypatch, lambda: experts.maps(areas))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert not torch.equal(found, before)
    experts.network.head.weight.data = experts.network.head.weight.data / 2
    assert torch.equal(experts.maps(areas), before)


def test_networks_in_training_and_narrow_ones_are_left_to_torch(monkeypatch):
    areas = make_areas(1, 1, 24)[:, 0]
    monkeypatch.setattr(UNet, "loops", lambda _: pytest.fail("ran as loops"))
    make_heatmap(make_unet((4, 6))).maps(areas)
    make_heatmap(UNet(20, (17, 24, 48)).eval().requires_grad_(False)).maps(areas)
    make_heatmap(make_unet().requires_grad_()).maps(areas)
    make_heatmap(make_unet().double()).maps(areas.double())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_images_that_cannot_be_seen_spare_the_others(value):
    experts, areas = make_heatmap(make_unet()), make_areas(6, 1, 24)[:, 0]
    expected = experts.maps(areas)
    areas[1] = value
    found = experts.maps(areas)
    assert found[1].isnan().all()
    assert torch.equal(found[[0, 2, 3, 4, 5]], expected[[0, 2, 3, 4, 5]])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_face_is_the_same_alone_and_among_others(threads):
    experts, areas = make_wide(), make_areas(40, N, 9)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = experts.respond(areas, 0, OPENFACE)
        for i in (0, 17, 39):
            assert torch.equal(experts.respond(areas[i : i + 1], 0, OPENFACE)[0], together[i])
        whole, images = make_heatmap(make_unet()), areas[:, :1].repeat(1, 1, 3, 3)[:, 0, :24, :24]
        together = whole.maps(images)
        for i in (0, 17, 39):
            assert torch.equal(whole.maps(images[i : i + 1])[0], together[i])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 100.3])
def test_faces_that_cannot_be_seen_spare_the_others(monkeypatch, value):
    experts, areas = make_wide(), make_areas(3, N, 9)
    expected = experts.respond(areas, 0, OPENFACE)
    areas[1] = value
    found, torch_form = both(monkeypatch, lambda: experts.respond(areas, 0, OPENFACE))
    assert torch.equal(found[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(found[1], torch_form[1], atol=WITHIN, rtol=0, equal_nan=True)


def test_what_the_loops_cannot_do_is_left_to_torch():
    experts, areas = make_wide(), make_areas(1, N, 9)
    weights = list(experts.parameters())
    assert compiled.usable(areas, weights)
    assert not compiled.usable(areas.double(), weights)
    assert not compiled.usable(areas.clone().requires_grad_(), weights)
    assert not compiled.usable(areas, [weights[0].double()])
    experts.requires_grad_()
    assert not compiled.usable(areas, weights)
    with torch.no_grad():
        assert compiled.usable(areas, weights)


@pytest.mark.parametrize(("side", "window"), [(8, 3), (8, 15), (9, 21), (5, 1)])
def test_windows_of_heatmaps_are_those_of_the_torch_form(side, window, rng, monkeypatch):
    maps = torch.rand(3, 4, side, side, generator=rng)
    middle = torch.randint(0, side, (3, 4, 2), generator=rng)
    found, expected = both(monkeypatch, lambda: cut_windows(maps, middle, window))
    assert torch.equal(found, expected)


class _Silenced(torch.nn.Module):
    """A wrapped layer, as adapters have them, that answers with zeros."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, maps):
        return self.layer(maps) * 0


@pytest.mark.parametrize("fitted_before", [False, True])
def test_wrapped_and_hooked_layers_of_the_default_model_count(fitted_before):
    experts = clnf_torch.load().model.experts[0]
    areas = torch.rand(1, experts.width, experts.width, generator=torch.Generator().manual_seed(68)) * 255
    plain, calls, stem = experts.maps(areas) if fitted_before else None, [], experts.network.stem
    experts.network.stem = _Silenced(stem)
    with torch.enable_grad():
        expected = experts.maps(areas.clone().requires_grad_()).detach()
    torch.testing.assert_close(experts.maps(areas), expected, atol=1e-4, rtol=1e-3)
    experts.network.stem = stem
    for register in (
        stem.register_forward_hook,
        experts.network.register_forward_hook,
        torch.nn.modules.module.register_module_forward_hook,
        torch.nn.modules.module.register_module_forward_pre_hook,
    ):
        calls.clear()
        with register(lambda *_: calls.append(1)):
            experts.maps(areas)
        assert calls
    if plain is not None:
        torch.testing.assert_close(experts.maps(areas), plain, atol=0, rtol=0)
