"""Photometric augmentation: random erasing (occlusion), jitter of light, blur, JPEG compression, noise, pen marks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from clnf_torch.training.augmentation.pen_marks import draw_pen_marks
from clnf_torch.training.augmentation.random import Sampler

# Side of JPEG's blocks, pixels
BLOCK = 8


def augment(gray: Tensor, sampler: Sampler, erasing: float = 0.35) -> Tensor:
    """Photometric augmentation: occlusion, light, blur, JPEG compression and noise, random for each image.

    Args:
        gray: Images in 0 to 255, floating point, shape (B, A, A), A divisible by 8.
        sampler: Gives the random numbers.
        erasing: Probability of an occlusion.
    """
    gray = random_erasing(gray, sampler, probability=erasing)
    gray = photometric_jitter(gray, sampler)
    gray = blur(gray, sampler, probability=0.3)
    gray = jpeg_compression(gray, sampler, probability=0.25)
    noise = sampler.normal(1, *gray.shape)
    deviation = sampler.uniform(0, 12, len(gray)) * sampler.bernoulli(0.4, len(gray))
    return (gray + noise * deviation[:, None, None]).clamp(0, 255)


def photometric_jitter(gray: Tensor, sampler: Sampler) -> Tensor:
    """Random gamma, contrast and brightness, and a light from one side."""
    count = len(gray)
    gamma = sampler.log_uniform(0.6, 1.7, count)[:, None, None]
    lit = 255 * (gray / 255).clamp(min=1e-4) ** gamma
    angle = sampler.uniform(0, 2 * math.pi, count)
    strength = sampler.uniform(0, 0.8, count) * sampler.bernoulli(0.4, count)
    line = torch.linspace(-1, 1, gray.shape[-1], device=gray.device)
    slope = angle.cos()[:, None, None] * line + angle.sin()[:, None, None] * line[:, None]
    contrast, brightness = sampler.log_uniform(0.6, 1.5, count), sampler.normal(12, count)
    lit = lit * (1 + strength[:, None, None] * slope) * contrast[:, None, None] + brightness[:, None, None]
    return lit.clamp(0, 255)


def blur(gray: Tensor, sampler: Sampler, probability: float) -> Tensor:
    """Gaussian blur, of another width along x and y, with a probability for each image."""
    count, reach = len(gray), 4
    steps = torch.arange(-reach, reach + 1, device=gray.device)
    blurred = sampler.bernoulli(probability, count)
    for axis in range(2):
        width = torch.where(blurred, sampler.uniform(0.05, 1.8, count), 0.05)[:, None]
        kernel = (-0.5 * (steps / width).square()).exp()
        kernel = (kernel / kernel.sum(-1, keepdim=True))[:, None, None]  # (B, 1, 1, 2 reach + 1)
        kernel, border = (kernel, (reach, reach, 0, 0)) if axis else (kernel.mT, (0, 0, reach, reach))
        gray = conv2d(pad(gray[None], border, mode="replicate"), kernel, groups=count)[0]
    return gray


def jpeg_compression(gray: Tensor, sampler: Sampler, probability: float) -> Tensor:
    """The loss of JPEG compression: quantised DCT coefficients of 8 x 8 blocks, with a probability for each image."""
    count, across = len(gray), gray.shape[-1] // BLOCK
    step = sampler.log_uniform(4, 40, count)[:, None, None, None, None]
    order = torch.arange(BLOCK, device=gray.device)
    basis = torch.cos(math.pi / BLOCK * (order + 0.5) * order[:, None]) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    coarser = step * (1 + 0.5 * (order + order[:, None]))
    blocks = gray.view(count, across, BLOCK, across, BLOCK).transpose(2, 3)
    rounded = (basis @ blocks @ basis.T / coarser).round() * coarser
    again = (basis.T @ rounded @ basis).transpose(2, 3).reshape(gray.shape)
    return torch.where(sampler.bernoulli(probability, count)[:, None, None], again, gray)


def random_erasing(gray: Tensor, sampler: Sampler, probability: float) -> Tensor:
    """Occlusion by a rectangle of one gray, of noise, or of another face, with a probability for each image.

    Source:
        Zhong et al.: Random erasing data augmentation, AAAI 2020.
    """
    count, side = len(gray), gray.shape[-1]
    line = torch.arange(side, device=gray.device)
    size, place = sampler.uniform(0.1, 0.45, count, 2) * side, sampler.uniform(0.1, 0.9, count, 2) * side
    inside = (line - place[..., None]).abs() < size[..., None] / 2  # (B, 2, A)
    covered = inside[:, 0, None] & inside[:, 1, :, None] & sampler.bernoulli(probability, count)[:, None, None]
    kind = sampler.integers(3, count)[:, None, None]
    flat = sampler.uniform(0, 255, count)[:, None, None].expand_as(gray)
    coarse = interpolate(sampler.uniform(0, 255, count, 1, 8, 8), size=(side, side), mode="bilinear")[:, 0]
    other = torch.where(kind == 0, flat, torch.where(kind == 1, coarse, gray.roll(1, 0).flip(-2)))
    return torch.where(covered, other, gray)


def cut_off(gray: Tensor, sampler: Sampler, probability: float) -> Tensor:
    """Black on one side of a line, as where a photograph ends within a face, with a probability for each image."""
    count, side = len(gray), gray.shape[-1]
    beyond = torch.arange(side, device=gray.device) > sampler.uniform(0.3, 0.95, count)[:, None] * side  # (B, A)
    beyond = torch.where(sampler.bernoulli(0.5, count, 1), beyond, beyond.flip(-1))
    beyond = torch.where(sampler.bernoulli(0.5, count, 1, 1), beyond[:, None], beyond[:, :, None])
    return gray.masked_fill(beyond & sampler.bernoulli(probability, count, 1, 1), 0)


@dataclass(frozen=True)
class ImageAugmentation:
    """Augmentation of training images. Poses are augmented apart, by `PoseWarp` and `PoseJitter`."""

    photometric: bool = True  # occlusion, light, blur, compression and noise: see `augment`
    pen_marks: float = 0.0  # probability of pen marks on a face, which need 68 landmarks
    cut_off: float = 0.0  # probability that the image ends within a face

    def __call__(self, gray: Tensor, landmarks: Tensor, sampler: Sampler) -> Tensor:
        """Images (B, S, S) in 0 to 255 of faces with landmarks (B, N, 2) in their pixels."""
        if self.pen_marks:
            gray = draw_pen_marks(gray, landmarks, sampler.generator, probability=self.pen_marks)
        gray = augment(gray, sampler) if self.photometric else gray
        # Last, as neither light nor noise reaches beyond the edge of an image
        return cut_off(gray, sampler, self.cut_off) if self.cut_off else gray


NO_AUGMENTATION = ImageAugmentation(photometric=False)
