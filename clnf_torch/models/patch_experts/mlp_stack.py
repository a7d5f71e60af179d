"""Many small networks of one depth, evaluated side by side: a layer of all of them is one batched matrix product."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.models.array_schema import Array
from clnf_torch.models.schema import Context, Fields, OneOf, Several, refuse

# Columns
FEW = 8
# Layers of a network and outputs of a layer, beyond those of any model
MOST_LAYERS, WIDEST = 8, 4096


def _sigmoid(x: Tensor) -> Tensor:
    """``torch.sigmoid``, but the same to the last bit wherever in its tensor a number stands, which torch's is not."""
    if x.requires_grad:
        # The clamp keeps the gradient finite
        return (1 + x.neg().clamp_(max=80).exp_()).reciprocal_()
    return x.neg_().exp_().add_(1).reciprocal_()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": _sigmoid,
    "relu": torch.relu_,
    # OpenFace: ``CEN_patch_expert`` evaluates sigmoid and ReLU alone; layers marked tanh or linear pass unchanged.
    "tanh": lambda x: x,
    "linear": lambda x: x,
}


class MLPStack(nn.Module):
    """E fully connected networks with the same activations; narrower ones are padded with zeros.

    Args:
        weights: Per layer, shape (E, in, out). The last layer has one output.
        biases: Per layer, shape (E, out).
        activations: Per layer, a name out of `ACTIVATIONS`.

    Raises:
        ValueError: The layers do not chain, or an activation is unknown.
    """

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], activations: Sequence[str]) -> None:
        super().__init__()
        _check_layers(weights, biases, activations)
        self.weights = nn.ParameterList(nn.Parameter(weight, requires_grad=False) for weight in weights)
        self.biases = nn.ParameterList(nn.Parameter(bias, requires_grad=False) for bias in biases)
        self.activations = tuple(activations)

    @staticmethod
    def record(activations: Sequence[str], weights: Sequence[Any], biases: Sequence[Any]) -> dict[str, Any]:
        """The fields of networks in a bundle; weights and biases may be lazy."""
        return {"activations": list(activations), "weights": list(weights), "biases": list(biases)}

    def to_record(self) -> dict[str, Any]:
        """The networks as a bundle holds them."""
        weights, biases = ([values.detach() for values in layers] for layers in (self.weights, self.biases))
        return self.record(self.activations, weights, biases)

    @classmethod
    def check_record(cls, record: Any, where: str, context: Context, pixels: int) -> int:
        """Refuses what is no record of networks that look at so many pixels; how many networks there are.

        Raises:
            SchemaError: Something in it is not what it should be.
            ValueError: The layers do not chain.
        """
        weights, biases = Array("E", "in", "out", longest=WIDEST), Array("E", "out", longest=WIDEST)
        names = Several(OneOf(tuple(ACTIVATIONS)), 1, MOST_LAYERS)
        layers = {"weights": Several(weights, 1, MOST_LAYERS), "biases": Several(biases, 1, MOST_LAYERS)}
        Fields({"activations": names, **layers}).check(record, where, context)
        _check_layers(record["weights"], record["biases"], record["activations"])
        count, inputs, _ = record["weights"][0].shape
        if inputs != pixels:
            raise refuse(f"{where}.weights[0]", f"{pixels} inputs", record["weights"][0])
        return int(count)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "MLPStack":
        """The networks in a record, in the number type they are stored in."""
        return cls(record["weights"], record["biases"], record["activations"])

    def __len__(self) -> int:
        """Number of networks E."""
        return self.weights[0].shape[0]

    @property
    def widest(self) -> int:
        """Width of the widest layer."""
        return max(weight.shape[-1] for weight in self.weights)

    def forward(self, inputs: Tensor, networks: int | Tensor) -> Tensor:
        """Outputs of some networks for their own rows of inputs.

        Half-precision weights are widened to the inputs' number type on the way.

        Args:
            inputs: Shape (G, rows, in) for G networks.
            networks: The first of G neighbours; or the number of each, int64, shape (G,), which copies their weights.

        Returns:
            Outputs, shape (G, rows).
        """
        chosen = networks if isinstance(networks, Tensor) else slice(networks, networks + len(inputs))
        hidden = inputs
        for weight, bias, activation in zip(self.weights, self.biases, self.activations, strict=True):
            answer = _multiply(hidden, weight[chosen].to(hidden.dtype), bias[chosen, None].to(hidden.dtype))
            # Products may be rounded to bfloat16, nothing else
            hidden = ACTIVATIONS[activation](answer.to(hidden.dtype))
        return hidden.squeeze(-1)


def _multiply(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The products of rows (G, rows, in) with weights (G, in, out), plus biases (G, 1, out).

    Matrix routines round products of few columns differently with the number of rows. One column is therefore a product
    and a sum, and a few are filled up to `FEW` or twice as many, so that a face's numbers do not depend on the faces
    beside it.
    """
    outputs = weight.shape[-1]
    if outputs == 1:
        return (hidden * weight.mT).sum(-1, keepdim=True) + bias
    if outputs >= 2 * FEW:
        return torch.baddbmm(bias, hidden, weight)
    lacking = (0, -outputs % FEW)
    return torch.baddbmm(pad(bias, lacking), hidden, pad(weight, lacking))[..., :outputs]


def _check_layers(weights: Sequence[Tensor], biases: Sequence[Tensor], activations: Sequence[str]) -> None:
    """Refuse layers that do not chain to one output."""
    unknown = set(activations) - set(ACTIVATIONS)
    if unknown:
        raise ValueError(f"activations {sorted(unknown)} are not known; the known ones are {sorted(ACTIVATIONS)}")
    shapes = [tuple(weight.shape) for weight in weights]
    outputs = [(shape[0], shape[-1]) for shape in shapes]
    chained = all((before[0], before[-1]) == after[:2] for before, after in pairwise(shapes))
    if (
        not shapes
        or not chained
        or outputs != [tuple(bias.shape) for bias in biases]
        or len(activations) != len(shapes)
        or outputs[-1][1] != 1
    ):
        raise ValueError(f"layers {shapes} do not chain from pixels to one output with {len(activations)} activations")
