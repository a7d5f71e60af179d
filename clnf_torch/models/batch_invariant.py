"""Batch-invariant layers: on the CPU an image's numbers are the same to the last bit alone and in a batch.

PyTorch chooses its routine by the size of the batch: one for a small image, or for a few under filters of one pixel,
another one for many. Each adds up its products in an order of its own, so that a face alone is rounded otherwise than
among others. These layers always take the same routine, whatever the batch and the number of threads. They do so for
float32 without a gradient, which is how models are used; anything else is left to PyTorch's own layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.functional import pad

# A convolution of so many weights is a matrix product: oneDNN's routine copies its weights in every call, which takes
# longer than to apply them to the few positions that layers of so many channels have
MANY = 1 << 17
# Rows of a matrix product; fewer or more are rounded otherwise
LEAST_ROWS, MOST_ROWS = 4, 128
# Columns of a matrix product. Several threads would share a single product and add up their parts of each sum; where
# there are two or more, each product is one thread's. Intel's and AMD's processors round a last column that is not one
# of sixteen in ways of their own, by the number of rows
COLUMNS, MOST_COLUMNS, PRODUCTS = 16, 128, 2
ONEDNN = torch.backends.mkldnn.is_available()


class Conv2d(nn.Conv2d):
    """A convolution, padded with zeros; see `torch.nn.Conv2d`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias, device=device)
        self._steps, self._border = (stride, stride), (padding, padding)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, C', H', W') of images (B, C, H, W)."""
        weight, bias = self.weight, self.bias
        if bias is None or not _applies(images, weight):
            return super().forward(images)
        if self.kernel_size == self._steps == (1, 1) and self._border == (0, 0):
            return _pixel_products(images, weight, bias)
        if weight.numel() >= MANY:
            return _patch_product(images, weight, bias, self._steps, self._border)
        return torch.mkldnn_convolution(images, weight, bias, self._border, self._steps, (1, 1), 1)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Moves or casts the layer, as ``nn.Module.to`` does."""
        with ordered_for_device(self):
            super()._apply(fn, recurse)
        return self


class Linear(nn.Linear):
    """A fully connected layer; see `torch.nn.Linear`."""

    def forward(self, rows: Tensor) -> Tensor:
        """Vectors (B, C') of vectors (B, C)."""
        weight, bias = self.weight, self.bias
        if bias is None or rows.ndim != 2 or not _applies(rows, weight):
            return super().forward(rows)
        return row_product(rows, weight.t(), bias)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Moves or casts the layer, as ``nn.Module.to`` does."""
        with ordered_for_device(self):
            super()._apply(fn, recurse)
        return self


@contextmanager
def ordered_for_device(network: nn.Module) -> Iterator[None]:
    """Around `nn.Module._apply`: weights of a network that moves get the order of memory that is fast where they are.

    On a card that is one order for all layers: of filters in another one it would make copies in every call.
    """
    before = [weight.device.type for weight in network.parameters()]
    yield
    for weight, device_type in zip(network.parameters(), before, strict=True):
        if weight.device.type != device_type and weight.ndim in (2, 4):
            weight.data = in_fast_order(weight.data) if weight.is_cpu else weight.data.contiguous()


def in_fast_order(weight: Tensor) -> Tensor:
    """The same weights of a layer, in the order of memory in which the layer is fastest on the CPU."""
    if weight.ndim == 2:
        return weight.t().contiguous().t()
    if weight.numel() >= MANY:
        return weight.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
    # So are the maps then: twice as fast
    return weight.contiguous(memory_format=torch.channels_last)


def order_filters(network: nn.Module) -> nn.Module:
    """A network, its filters in the order of memory in which layers are fastest on the CPU, for use in no training."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = in_fast_order(parameter.data)
    return network


def row_product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Products of rows with a matrix, plus a bias; a row's are the same to the last bit whatever the other rows.

    Args:
        rows: Shape (R, K).
        weight: Shape (K, C), fastest where it is contiguous.
        bias: Shape (C,).

    Returns:
        Shape (R, C).
    """
    count = rows.shape[0]
    if count > MOST_ROWS:
        return torch.cat([row_product(block, weight, bias) for block in rows.split(MOST_ROWS)])
    if count < LEAST_ROWS:
        return row_product(pad(rows, (0, 0, 0, LEAST_ROWS - count)), weight, bias)[:count]
    channels = bias.shape[0]
    products = 1 if torch.get_num_threads() == 1 else max(PRODUCTS, -(-channels // MOST_COLUMNS))
    lacking = (0, -channels % (COLUMNS * products))
    if any(lacking):
        weight, bias = pad(weight, lacking), pad(bias, lacking)
    if products == 1:
        return torch.addmm(bias, rows, weight)[:, :channels]
    # Equal parts of the columns
    parts = weight.unflatten(1, (products, -1)).transpose(0, 1)
    answers = torch.baddbmm(bias.view(products, 1, -1), rows.expand(products, -1, -1), parts)
    return answers.transpose(0, 1).flatten(1)[:, :channels]


def _pixel_products(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution with filters of one pixel: a product for each image, of columns that come by sixteen."""
    pixels = images.flatten(2)
    columns = pixels.shape[2]
    if lacking := -columns % COLUMNS:
        pixels = pad(pixels, (0, lacking))
    maps = torch.baddbmm(bias[:, None], weight.flatten(1).expand(len(images), -1, -1), pixels)
    return maps[..., :columns].unflatten(2, images.shape[2:])


def _patch_product(
    images: Tensor, weight: Tensor, bias: Tensor, steps: tuple[int, int], border: tuple[int, int]
) -> Tensor:
    """A convolution as the product of what the filters see at each position with their weights."""
    padded = pad(images.permute(0, 2, 3, 1), (0, 0, border[1], border[1], border[0], border[0])).contiguous()
    faces, height, width, channels = padded.shape
    high, wide = weight.shape[2:]
    size = (faces, (height - high) // steps[0] + 1, (width - wide) // steps[1] + 1)
    row = width * channels
    # A row of a filter sees pixels that follow each other in memory
    patches = padded.as_strided(
        (*size, high, wide * channels), (height * row, steps[0] * row, steps[1] * channels, row, 1)
    )
    rows = patches.reshape(size[0] * size[1] * size[2], high * wide * channels)
    return (
        row_product(rows, weight.permute(2, 3, 1, 0).flatten(0, 2), bias).view(*size, bias.shape[0]).permute(0, 3, 1, 2)
    )


def _applies(inputs: Tensor, weight: Tensor) -> bool:
    """Whether a layer is evaluated here: on the CPU, in float32, without gradient, autocast or compilation."""
    return (
        type(inputs) is Tensor
        and inputs.is_cpu
        and inputs.dtype is weight.dtype is torch.float32
        and not (torch.is_grad_enabled() and (inputs.requires_grad or weight.requires_grad))
        and getattr(forward_ad, "_current_level", -1) < 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and ONEDNN
        and bool(torch.backends.mkldnn.enabled)
    )
