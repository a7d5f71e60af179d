"""Triton's programs, compiled for two kinds of cards, which need not be there; prints what became of them as JSON."""

from __future__ import annotations

import json
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from clnf_torch.fitting.kernels.cuda import launch
from clnf_torch.fitting.kernels.cuda.landmark_search import search_landmarks
from clnf_torch.fitting.kernels.cuda.search import search_responses
from tests.fitting.random_searches import make_pdm

NUMBERS = {"sigma", "apart", "tolerance", "regularisation"}
WHOLE = {"landmarks", "count", "window", "by_face", "by_landmark", "by_row", "by_column", "steps"}


def compiled(program: Any, constants: dict[str, Any], capability: int) -> dict[str, Any]:
    """Size in bytes, and whether there are instructions of tensor cores."""
    options = {name: constants.pop(name) for name in ("num_warps", "enable_fp_fusion")}
    kinds = {
        name: "constexpr" if name in constants else "fp32" if name in NUMBERS else "i32" if name in WHOLE else "*fp32"
        for name in program.arg_names
    }
    source = ASTSource(program, kinds, constants)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return {"size": len(made.asm["cubin"]), "tensor_cores": "mma" in made.asm["ptx"] or "tf32" in made.asm["ptx"]}


def main() -> None:
    """Prints both programs, each for one kind of card."""
    sizes = launch._sizes(make_pdm(20, 6))
    found = {
        "search_responses": compiled(search_responses, {**sizes, **launch._map_sizes(11), "OWN_PRIOR": False}, 90),
        "search_landmarks": compiled(search_landmarks, dict(sizes), 80),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
