"""`clnf_torch.models.kernels.cuda`: run in Triton's interpreter against the torch form, and compiled for cards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.models import compiled
from clnf_torch.models.numerics import OPENFACE
from tests.factories import N, make_experts, seeded
from tests.programs import printed_by

pytest.importorskip("triton", minversion="3.3", reason="no Triton from 3.3 on: pip install -e '.[cuda]'")

# Of responses from 0 to 1, both rounded to float32, each in its order. Measured: 5e-7
WITHIN = 1e-5
# Triton's interpreter cuts numbers off to bfloat16 where torch and cards round, so that it loses twice as much;
# measured: 2.6 times
LOST_MORE = 4
# Of a program, bytes: what every card since 2020 has
SHARED = 99 * 1024
CASES = [
    "four layers", "four layers, every cell", "four layers, one cell", "four layers, many cells",
    "two and three layers", "two and three layers, every cell", "weights of half precision", "other layout", "spoiled",
]  # fmt: skip


@pytest.fixture(scope="module")
def interpreted():
    return printed_by("tests.models.patch_experts.interpreted")


@pytest.mark.parametrize("case", CASES)
def test_programs_agree_with_the_torch_form(interpreted, case):
    assert interpreted[case] < WITHIN


def test_products_are_rounded_to_bfloat16_and_nothing_else(interpreted):
    assert 0 < interpreted["bfloat16"] < LOST_MORE


def test_a_face_is_the_same_alone_and_in_a_batch(interpreted):
    assert interpreted["alone"] == 0


def test_programs_compile_for_cards():
    for name, program in printed_by("tests.models.patch_experts.compiled_for_cards").items():
        assert program["size"] > 0, name
        assert program["shared"] <= SHARED, name
        assert program["tensor_cores"] == name.startswith(("tf32", "bf16")), name


def test_nothing_is_a_program_s_without_a_card():
    experts, areas = make_experts(support=5, dtype=torch.float32), torch.zeros(1, N, 9, 9)
    assert not compiled.usable_on_card(areas, experts.parameters())


@pytest.mark.cuda
@pytest.mark.parametrize(("precision", "within"), [("tf32", 0.02), ("bf16", 0.1)])
def test_cards_run_the_programs(monkeypatch, precision, within):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    experts = make_experts(support=5, dtype=torch.float32).cuda()
    areas = 255 * torch.rand(3, 2, N, 15, 15, generator=seeded(4)).cuda()
    views = torch.tensor([2, 0, 1]).cuda()
    numerics = replace(OPENFACE, precision=precision)
    assert compiled.card_kernels(experts.expert.device) is not None
    found = experts.respond_in_tiles(areas, views, numerics)
    monkeypatch.setattr(compiled, "card_kernels", lambda device: None)
    torch.testing.assert_close(found, experts.respond_in_tiles(areas, views, OPENFACE), atol=within, rtol=0)


@pytest.mark.parametrize(
    ("capability", "shared", "works"),
    [((9, 0), 227, True), ((8, 6), 99, True), ((7, 5), 64, False), ((7, 0), 96, False), ((12, 0), 64, False)],
    ids=["H100", "RTX 3090", "T4", "V100", "less memory"],
)
def test_cards_that_cannot_start_the_programs_run_the_torch_forms(monkeypatch, capability, shared, works):
    """Triton compiles for a T4 and raises when the program is to be started there."""
    from clnf_torch.compilation import cards
    from clnf_torch.models.kernels.cuda import launch

    monkeypatch.setattr(cards, "works", lambda device: True)
    monkeypatch.setattr(cards, "shared_memory", lambda device: shared * 1024)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert launch.works(torch.device("cuda", 1)) == works
