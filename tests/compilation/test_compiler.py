"""`clnf_torch.compilation.compiler`: what loops compute depends on nobody who compiled them, and on no order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import clnf_torch

numba = pytest.importorskip("numba", reason="the compiled loops need numba")

from numba.core.compiler import Flags  # noqa: E402
from numba.core.registry import CPUDispatcher  # noqa: E402
from numba.core.targetconfig import ConfigStack  # noqa: E402

from clnf_torch.compilation.compiler import compiled, compiled_exactly  # noqa: E402

PACKAGE = Path(clnf_torch.__file__).parent
# Fused multiply-adds of x86 and ARM: vfmadd213ss, fmadd, fmla
FUSED = re.compile(r"\bv?fn?m(?:add|sub|la|ls)")
RESPOND = """
import sys, torch
from clnf_torch.models.numerics import OPENFACE
from tests.factories import N, make_experts, seeded
experts = make_experts(support=11, dtype=torch.float32)
areas = 255 * torch.rand(2, N, 21, 21, generator=seeded(4))
torch.save(experts(areas, torch.tensor([0, 1]), OPENFACE), sys.argv[1])
"""
# What reads a pyramid is exact, what describes appearance is not, and both interpolate with the same function
READ_AND_DESCRIBE = """
import sys, torch
from clnf_torch.geometry.kernels.cpu import pyramids, sampling
from clnf_torch.geometry.pyramid import Pyramid
from clnf_torch.tracking.appearance import appearance_descriptor
from tests.factories import seeded
noise = seeded(3)
gray = torch.randint(0, 256, (1, 64, 64), dtype=torch.uint8, generator=noise)
matrix = torch.rand(1, 9, 2, 3, generator=noise) * torch.tensor([2.0, 2.0, 9.0])
landmarks, mean = 40 * torch.rand(1, 5, 2, generator=noise), torch.rand(5, 3, generator=noise)
index = torch.zeros(1, dtype=torch.int64)
calls = {
    "read": lambda: Pyramid.of(gray).read(index, matrix, 24),
    "describe": lambda: appearance_descriptor(gray, index, landmarks, mean),
}
found = {name: calls[name]() for name in sys.argv[2:]}
loops = [pyramids.read, pyramids.level_of, sampling.lerp, sampling.whole]
found["assembly"] = [text for loop in loops for text in loop.inspect_asm().values()]
torch.save(found, sys.argv[1])
"""


def run(code: str, cache: Path, path: Path, *words: str) -> Any:
    """What a process of its own saves, given a folder for compiled loops."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    environment.pop("NUMBA_CACHE_DIR", None)
    subprocess.run([sys.executable, "-c", code, path, *words], check=True, env=environment)
    assert any(cache.rglob("*.nbc"))
    return torch.load(path)


def test_a_process_that_compiles_rounds_as_later_ones(tmp_path):
    """Sums whose order the compiler chooses have one order, though a function is compiled alone and inside others."""
    found = [run(RESPOND, tmp_path / "cache", tmp_path / f"{name}.pt") for name in ("first", "second")]
    assert torch.equal(*found)


def test_what_is_compiled_first_changes_nothing(tmp_path):
    """Caches filled in either order: equal to the last bit, and no product of the exact loops is fused."""
    orders = ("read", "describe"), ("describe", "read")
    one, other = (run(READ_AND_DESCRIBE, tmp_path / "-".join(o), tmp_path / f"{o[0]}.pt", *o) for o in orders)
    assert torch.equal(one["read"], other["read"])
    assert torch.equal(one["describe"], other["describe"])
    for found in (one, other):
        assert len(found["assembly"]) >= 4 and all(found["assembly"])
        assert not any(FUSED.search(text) for text in found["assembly"])


def all_loops() -> dict[str, CPUDispatcher]:
    """Every compiled function of the package, by its name."""
    files = [PACKAGE / "compilation" / "products.py", *PACKAGE.glob("*/kernels/cpu/[a-z]*.py")]
    names = [".".join(("clnf_torch", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]
    members = [(name, member) for name in names for member in vars(import_module(name)).values()]
    return {f"{m.__module__}.{m.__name__}": m for name, m in members if isinstance(m, CPUDispatcher)}


def flags(loop: CPUDispatcher) -> Flags:
    """With which flags a loop would be compiled now."""
    found = Flags()
    loop.targetdescr.options.parse_as_flags(found, loop.targetoptions)
    return found


def flags_inside(caller: CPUDispatcher, loop: CPUDispatcher) -> Flags:
    """With which flags a loop is compiled where numba meets it in a caller that it compiles."""
    with ConfigStack().enter(flags(caller)):
        return flags(loop)


@pytest.mark.parametrize("decorate", [compiled, compiled_exactly])
def test_no_loop_takes_flags_from_its_caller(decorate: Callable[..., Any]):
    caller = decorate(lambda: None)
    loops = {name: loop for name, loop in all_loops().items() if loop.targetoptions.get("inline") != "always"}
    assert len(loops) > 80
    differing = [name for name, loop in loops.items() if flags_inside(caller, loop) != flags(loop)]
    assert differing == []


def test_numba_hands_flags_down_where_nothing_is_said():
    """Why every option is given."""
    plain = numba.njit(lambda: None)
    assert flags_inside(compiled(lambda: None), plain).fastmath
    assert not flags(plain).fastmath


def test_exact_loops_are_exact_and_the_others_are_not():
    exact, reordered = flags(compiled_exactly(lambda: None)), flags(compiled(lambda: None))
    assert not exact.fastmath
    assert reordered.fastmath.flags == {"contract", "reassoc", "nsz"}
