"""`clnf_torch.models.patch_experts.mlp_stack`: networks side by side, against one neuron after the other."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.models.patch_experts.mlp_stack import MLPStack
from tests.factories import make_stack

# OpenFace evaluates sigmoid and ReLU alone.
FORMULAS = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "relu": lambda x: max(x, 0.0),
    "tanh": lambda x: x,
    "linear": lambda x: x,
}


def naive_network(stack: MLPStack, expert: int, pixels: list[float]) -> float:
    """One network, neuron by neuron."""
    values = pixels
    for weight, bias, name in zip(stack.weights, stack.biases, stack.activations, strict=True):
        w, b = weight[expert].tolist(), bias[expert].tolist()
        sums = [b[o] + sum(v * w[i][o] for i, v in enumerate(values)) for o in range(len(b))]
        values = [FORMULAS[name](x) for x in sums]
    (answer,) = values
    return answer


@pytest.mark.parametrize(
    "activations", [["sigmoid"], ["relu", "sigmoid"], ["tanh", "linear", "relu", "sigmoid"], ["sigmoid", "linear"]]
)
def test_networks_neuron_by_neuron(rng, activations):
    widths = (9, *(7, 5, 4)[: len(activations) - 1], 1)
    stack = make_stack(4, widths, activations, 0, torch.float64)
    inputs = torch.randn(2, 3, 9, generator=rng, dtype=torch.float64)
    expected = [[naive_network(stack, 1 + g, inputs[g, r].tolist()) for r in range(3)] for g in range(2)]
    torch.testing.assert_close(stack(inputs, 1), torch.tensor(expected, dtype=torch.float64))


def test_inputs_are_left_alone(rng):
    stack = make_stack(2, (9, 1), ["relu"], 0, torch.float64)
    inputs = torch.randn(2, 3, 9, generator=rng, dtype=torch.float64)
    before = inputs.clone()
    stack(inputs, 0)
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_batch_shape_device_and_dtype(rng, rows, device, dtype):
    stack = make_stack(3, (9, 6, 1), ["relu", "sigmoid"], 0, dtype).to(device)
    inputs = torch.randn(3, rows, 9, generator=rng, dtype=torch.float64).to(device, dtype)
    together = stack(inputs, 0)
    assert together.shape == (3, rows) and together.dtype == dtype and together.device.type == device.type
    for i in range(rows):
        torch.testing.assert_close(stack(inputs[:, i : i + 1], 0)[:, 0], together[:, i])


@pytest.mark.parametrize("hidden", [3, 8, 9, 11, 13, 20])
def test_rows_do_not_depend_on_how_many_there_are(rng, hidden):
    stack = make_stack(2, (121, hidden, 1), ["linear", "linear"], 0, torch.float32)
    inputs = torch.randn(2, 80, 121, generator=rng)
    together = stack(inputs, 0)
    for rows in (4, 7, 25, 49, 64):
        assert torch.equal(stack(inputs[:, :rows].contiguous(), 0), together[:, :rows])


def test_half_weights_are_widened(rng):
    stack = make_stack(2, (9, 6, 1), ["relu", "sigmoid"], 0, torch.float16)
    inputs = torch.randn(2, 4, 9, generator=rng)
    twin = make_stack(2, (9, 6, 1), ["relu", "sigmoid"], 0, torch.float16).float()
    assert stack(inputs, 0).dtype == torch.float32
    torch.testing.assert_close(stack(inputs, 0), twin(inputs, 0))


def test_gradients(rng):
    stack = make_stack(3, (4, 3, 1), ["relu", "sigmoid"], 0, torch.float64).requires_grad_()
    inputs = torch.randn(2, 2, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in stack.named_parameters()]

    def run(inputs, *values):
        return torch.func.functional_call(stack, dict(zip(names, values, strict=True)), (inputs, 1))

    assert torch.autograd.gradcheck(run, (inputs, *stack.parameters()))


def test_length_and_width():
    stack = make_stack(3, (9, 6, 1), ["relu", "sigmoid"], 0, torch.float64)
    assert len(stack) == 3 and stack.widest == 6


@pytest.mark.parametrize(
    ("weights", "biases", "activations"),
    [
        ([(2, 9, 4), (2, 5, 1)], [(2, 4), (2, 1)], ["relu", "sigmoid"]),  # 4 outputs, 5 inputs
        ([(2, 9, 4)], [(2, 4)], ["relu"]),  # four outputs
        ([(2, 9, 1)], [(2, 2)], ["relu"]),  # a bias too many
        ([(2, 9, 1)], [(3, 1)], ["relu"]),  # an expert too many
        ([(2, 9, 1)], [(2, 1)], ["relu", "relu"]),  # an activation too many
        ([(2, 9, 4), (3, 4, 1)], [(2, 4), (3, 1)], ["relu", "relu"]),  # layers for different numbers of experts
    ],
)
def test_layers_that_do_not_chain_are_refused(weights, biases, activations):
    with pytest.raises(ValueError, match="do not chain from pixels to one output"):
        MLPStack([torch.zeros(s) for s in weights], [torch.zeros(s) for s in biases], activations)


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="do not chain"):
        MLPStack([], [], [])


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"activations \['gelu'\] are not known"):
        MLPStack([torch.zeros(2, 9, 1)], [torch.zeros(2, 1)], ["gelu"])
