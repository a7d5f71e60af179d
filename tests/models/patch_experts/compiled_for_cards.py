"""Triton's program of CEN experts, compiled for cards, which need not be there; prints what became of it as JSON."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from clnf_torch.models.kernels.cuda import launch, mlps

# Layers of CE-CLM's largest experts
WIDTHS, NAMES = (121, 500, 200, 100, 1), ("relu", "relu", "sigmoid", "sigmoid")
KINDS = {"served": "*i64", "experts": "*i64", "mirrored": "*u8", "uses": "i32", "count": "i32", "first": "i32"}
KINDS |= {"faces": "i32", "landmarks": "i32", "size": "i32"}


def kind(name: str, constants: dict[str, Any], weights: str) -> str:
    """Triton's name of an argument's type."""
    if name in constants:
        return "constexpr"
    if name.startswith("weight"):
        return weights
    return KINDS.get(name, "i32" if name.startswith("by_") else "*fp32")


def compiled(precision: str, capability: int, weights: str = "*fp32") -> dict[str, Any]:
    """Bytes of the program and of the shared memory that it takes, and whether there are tensor cores in it."""
    layers = [torch.empty(1, before, after) for before, after in pairwise(WIDTHS)]
    constants = {**launch._sizes(11, 11, True), **launch._layers(layers, NAMES), "PRECISION": precision}
    kinds = {name: kind(name, constants, weights) for name in mlps.respond.arg_names}
    options = {"num_warps": launch.WARPS, "num_stages": 1, "enable_fp_fusion": True}
    made = triton.compile(
        ASTSource(mlps.respond, kinds, constants), target=GPUTarget("cuda", capability, 32), options=options
    )
    cores = "mma" in made.asm["ptx"]
    return {"size": len(made.asm["cubin"]), "shared": made.metadata.shared, "tensor_cores": cores}


def main() -> None:
    """Prints the program in its precisions, on the oldest and the newest cards that Triton knows well."""
    found = {f"{name}, {card}": compiled(name, card) for name in ("tf32", "bf16") for card in (80, 90)}
    found["ieee, 90, weights of half precision"] = compiled("ieee", 90, "*fp16")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
