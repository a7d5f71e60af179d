"""What a camera does to an image: a lens out of focus, motion, few pixels, noise, and colours of its own."""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from clnf_torch.training.augmentation.random import Sampler

# Widest kernel of a blur, pixels to each side
REACH = 7


def photographed(image: Tensor, sampler: Sampler) -> Tensor:
    """An image (3, S, S), 0 to 1, as a camera takes it, uint8."""
    side = image.shape[-1]
    if bool(sampler.bernoulli(0.25)):
        image = blurred(image, _gaussian(float(sampler.log_uniform(0.4, 1.6))))
    if bool(sampler.bernoulli(0.08)):
        image = blurred(image, _motion(float(sampler.uniform(2, 6)), float(sampler.uniform(0, math.pi))))
    if bool(sampler.bernoulli(0.25)):
        small = max(8, round(side * float(sampler.uniform(0.3, 0.8))))
        coarse = interpolate(image[None], size=(small, small), mode="bilinear", antialias=True)
        image = interpolate(coarse, size=(side, side), mode="bicubic")[0]
    image = image.clamp(0, 1) * (1 + sampler.normal(0.03, 3, 1, 1))
    image = torch.lerp(image.mean(0, keepdim=True).expand_as(image), image, float(sampler.uniform(0.6, 1.15)))
    if bool(sampler.bernoulli(0.08)):
        image = image.mean(0, keepdim=True).expand(3, -1, -1)
    contrast, gamma = float(sampler.log_uniform(0.75, 1.3)), float(sampler.log_uniform(0.8, 1.25))
    image = ((image - 0.5) * contrast + 0.5).clamp(1e-4, 1) ** gamma
    strength = float(sampler.uniform(0, 0.05)) * float(sampler.bernoulli(0.6))
    grain = sampler.normal(1, *image.shape) * strength * image.sqrt()
    return ((image + grain).clamp(0, 1) * 255).round().to(torch.uint8)


def blurred(image: Tensor, kernel: Tensor) -> Tensor:
    """An image (C, S, S) under a kernel (K, K) that sums to 1; its border is repeated."""
    reach = len(kernel) // 2
    return conv2d(pad(image[:, None], (reach,) * 4, mode="replicate"), kernel[None, None])[:, 0]


def _gaussian(deviation: float) -> Tensor:
    line = torch.exp(-0.5 * (torch.arange(-REACH, REACH + 1) / deviation).square())
    return line[:, None] * line / line.sum().square()


def _motion(length: float, angle: float) -> Tensor:
    """A soft line of a length in pixels."""
    line = torch.arange(-REACH, REACH + 1).float()
    ahead = line * math.cos(angle) + line[:, None] * math.sin(angle)
    aside = line[:, None] * math.cos(angle) - line * math.sin(angle)
    kernel = (length / 2 - ahead.abs() + 0.5).clamp(0, 1) * (1 - aside.abs()).clamp(0, 1)
    return kernel / kernel.sum()
