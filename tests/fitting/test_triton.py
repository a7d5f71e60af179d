"""`clnf_torch.fitting.kernels.cuda`: run in Triton's interpreter against the torch forms, and compiled for cards."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from clnf_torch.fitting import compiled
from clnf_torch.fitting.config import PRESETS
from clnf_torch.fitting.nu_rlms import search_responses
from clnf_torch.geometry.records import map_tensors
from clnf_torch.models import compiled as experts_compiled
from tests.fitting.random_searches import make_pdm, make_search
from tests.programs import printed_by

pytest.importorskip("triton", minversion="3.3", reason="no Triton from 3.3 on: pip install -e '.[cuda]'")

# Pixels of faces that are 100 pixels wide, cells, and scales. Measured: 3e-5, of a shape beyond its limits 1.1e-4. Both
# forms are rounded to float32, each in its order
WITHIN = 5e-4
# Likewise of many faces where kernels are centred on multiples of 0.1 cells: one that lies close to half-way may be
# centred on the next
WITHIN_STEPPED = 0.2
CASES = [
    "default", "default, stepped", "tracking", "tracking, stepped", "wild", "wild, stepped", "every step", "spoiled",
    "beyond the limit", "other layout", "from landmarks",
]  # fmt: skip


@pytest.fixture(scope="module")
def interpreted():
    return printed_by("tests.fitting.interpreted")


@pytest.mark.parametrize("case", CASES)
def test_programs_agree_with_the_torch_forms(interpreted, case):
    assert max(interpreted[case]["apart"]) < WITHIN


def test_a_face_is_the_same_alone_and_in_a_batch(interpreted):
    assert interpreted["alone"]["apart"] == [0, 0, 0]


def test_programs_compile_for_cards_without_tensor_cores():
    for name, program in printed_by("tests.fitting.compiled_for_cards").items():
        assert program["size"] > 0, name
        # TF32 is what tensor cores make of float32
        assert not program["tensor_cores"], name


def test_the_torch_forms_run_where_programs_do_not_start():
    from clnf_torch.compilation import cards

    # No card, or a processor, for which Triton has no compiler
    assert not cards.works(torch.device("cpu"))


def test_each_card_is_tried_by_itself(monkeypatch):
    """A model on the second card neither touches the first one nor goes by it."""
    tried = []
    stand_in = SimpleNamespace(works=lambda device: tried.append(str(device)) or device.index == 1)
    for module in (compiled, experts_compiled):
        monkeypatch.setattr(module, "load_kernels", lambda name: stand_in)
    compiled.kernels.cache_clear()
    experts_compiled.card_kernels.cache_clear()
    try:
        for kernels in (compiled.kernels, experts_compiled.card_kernels):
            assert kernels(torch.device("cuda:1")) is stand_in and kernels(torch.device("cuda:0")) is None
    finally:
        compiled.kernels.cache_clear()
        experts_compiled.card_kernels.cache_clear()
    assert tried == ["cuda:1", "cuda:0"] * 2


def test_old_versions_are_left_alone(monkeypatch):
    from clnf_torch.compilation import cards

    monkeypatch.setattr(cards, "LEAST_VERSION", (99, 0))
    assert not cards.works(torch.device("cpu"))


@pytest.mark.cuda
@pytest.mark.parametrize("step", [None, 0.1])
@pytest.mark.parametrize("name", PRESETS)
def test_cards_run_the_programs(monkeypatch, name, step):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    pdm = make_pdm(68, 34)
    start, field = (map_tensors(lambda values: values.cuda(), record) for record in make_search(pdm, 33, 11))
    pdm, config = pdm.cuda(), PRESETS[name].at_scale(0, (0.25,))
    assert compiled.kernels(pdm.mean.device) is not None
    _, found, _ = search_responses(pdm, start, field, config, step)
    monkeypatch.setattr(compiled, "kernels", lambda device_type: None)
    _, expected, _ = search_responses(pdm, start, field, config, step)
    within = WITHIN if step is None else WITHIN_STEPPED
    torch.testing.assert_close(pdm.landmarks(found), pdm.landmarks(expected), atol=within, rtol=0)
