"""Whether patch experts respond as compiled kernels; the torch forms, where this is asked, define how."""

from collections.abc import Iterable
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from clnf_torch.compilation.conditions import load_kernels, plain_numbers, recorded


class KnownNumbers(nn.Module):
    """A network that finds its parameters as fast as compiled loops need them."""

    @cached_property
    def _places(self) -> list[tuple[dict[str, Any], str]]:
        """Where the layers keep their parameters."""
        return [(layer._parameters, name) for layer in self.modules() for name in layer._parameters]

    def numbers(self) -> list[Tensor]:
        """The parameters as they are now, found without looking for them in every layer, as `parameters` does."""
        found = [parameters.get(name) for parameters, name in self._places]
        return [values for values in found if values is not None]

    @cached_property
    def _layers(self) -> list[tuple[dict[str, Any], str, nn.Module, type]]:
        """Where each layer is, which one it is, and of which type."""
        return [
            (module._modules, name, layer, type(layer))
            for module in self.modules()
            for name, layer in module._modules.items()
            if layer is not None
        ]

    @cached_property
    def _known(self) -> bool:
        """Whether all layers are torch's or the package's own."""
        return all(kind.__module__.startswith(("torch.nn.modules.", "clnf_torch.")) for *_, kind in self._layers)

    def is_as_made(self) -> bool:
        """Whether loops may stand for its layers: none was replaced or parametrized, or has hooks, which loops skip.

        The network itself may be called by the loops' own names, so that its hooks would be skipped too, and so would
        those that torch calls for every module.
        """
        of_all = module_hooks._global_forward_hooks or module_hooks._global_forward_pre_hooks
        if not self._known or of_all or self._forward_hooks or self._forward_pre_hooks:
            return False
        return all(
            layers.get(name) is layer and type(layer) is kind and not (layer._forward_hooks or layer._forward_pre_hooks)
            for layers, name, layer, kind in self._layers
        )


def kernels() -> Any:
    """`clnf_torch.models.kernels.cpu.launch`; None where there is no compiler: see `load_kernels`."""
    return load_kernels("clnf_torch.models.kernels.cpu.launch")


@cache
def card_kernels(device: torch.device) -> Any:
    """`clnf_torch.models.kernels.cuda.launch`; None where its programs do not start on a card."""
    own = load_kernels("clnf_torch.models.kernels.cuda.launch")
    return own if own is not None and own.works(device) else None


def usable(areas: Tensor, weights: Iterable[Tensor]) -> bool:
    """Whether the responses to areas can be compiled loops': on the CPU, with weights of no more than float32.

    Not where products are rounded to bfloat16, which the loops do not do.
    """
    if not areas.is_cpu or torch.is_autocast_enabled("cpu") or not plain_numbers(areas):
        return False
    return _fixed(weights, areas.device) and kernels() is not None


def usable_on_card(areas: Tensor, weights: Iterable[Tensor]) -> bool:
    """Whether the responses to areas can be Triton's programs': on CUDA, with weights of no more than float32."""
    if not areas.is_cuda or not plain_numbers(areas):
        return False
    return _fixed(weights, areas.device) and card_kernels(areas.device) is not None


def _fixed(weights: Iterable[Tensor], device: torch.device) -> bool:
    """Whether weights are there, in types that the kernels widen, and nothing records operations on them."""
    fixed = list(weights)
    types = (torch.float32, torch.float16)
    there = all(weight.device == device and weight.dtype in types for weight in fixed)
    return there and not recorded(*fixed)


def projects(*tensors: Tensor) -> bool:
    """Whether landmarks of a shape model can be compiled loops', given all that they depend on."""
    return tensors[0].is_cpu and plain_numbers(*tensors) and kernels() is not None
