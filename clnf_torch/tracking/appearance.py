"""Appearance descriptors of faces for re-identification: small upright crops, normalised for local contrast."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from clnf_torch.compilation.conditions import load_kernels, plain_numbers
from clnf_torch.geometry.sampling import cells_at, pad_with_black, read_bilinear
from clnf_torch.geometry.similarity import similarity_between

# Side of a crop, pixels
SIDE = 16
# Share of the face's larger extent that a crop shows: less background, more eyes, nose and mouth
EXTENT = 0.84
# Side of the windows of the local contrast normalisation, pixels
WINDOW = 9
# Gray levels; contrast below is not amplified
NOISE = 4.0
# Length of a contrast below which nothing can be seen
LEAST_LENGTH = 1e-3
# Weight of the newest descriptor in the exponential moving average
EMA_WEIGHT = 0.05

PIXELS = SIDE * SIDE
# Pixels of the shorter side of an image that are looked at for cuts, at least: more would take longer and say no more
CUT_SIDE = 8 * SIDE


def appearance_descriptor(gray: Tensor, image_index: Tensor, landmarks: Tensor, mean: Tensor) -> Tensor:
    """Crops of faces, aligned upright by their landmarks and normalised for local contrast.

    Args:
        gray: Images, uint8, shape (F, H, W).
        image_index: Index of each face's image, int64, shape (B,).
        landmarks: Pixels, shape (B, N, 2).
        mean: The mean shape, mm, shape (N, 3).

    Returns:
        Descriptors of length 1, shape (B, 256); 0 where nothing can be seen.
    """
    if len(landmarks) and gray.is_cpu and gray.dtype == torch.uint8 and plain_numbers(landmarks, mean):
        loops = load_kernels("clnf_torch.tracking.kernels.cpu.appearance")
        if loops is not None:
            form = EXTENT, WINDOW, NOISE, LEAST_LENGTH
            found: Tensor = loops.describe(gray, image_index, landmarks, mean, SIDE, form)
            return found
    return _torch_descriptor(gray, image_index, landmarks, mean)


def _torch_descriptor(gray: Tensor, image_index: Tensor, landmarks: Tensor, mean: Tensor) -> Tensor:
    """`appearance_descriptor` in torch's operations, which define it."""
    points = mean[:, :2]
    lowest, highest = points.amin(0), points.amax(0)
    steps = (torch.arange(2 * SIDE, dtype=mean.dtype, device=mean.device) + 0.5) / (2 * SIDE) - 0.5
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).flatten(0, 1)
    grid = grid * EXTENT * (highest - lowest).amax() + (lowest + highest) / 2 - points.mean(0)
    to_image = similarity_between(points.expand_as(landmarks), landmarks)
    positions = grid @ to_image.mT + landmarks.mean(1, keepdim=True)
    levels = read_bilinear(pad_with_black(gray), image_index, cells_at(positions), mean.dtype)
    return _normalise_contrast(avg_pool2d(levels.view(-1, 1, 2 * SIDE, 2 * SIDE), 2))


def scene_descriptor(gray: Tensor) -> Tensor:
    """Whole images, small and normalised for local contrast as faces are: those on both sides of a cut differ.

    Args:
        gray: Images, uint8, shape (V, H, W).

    Returns:
        Descriptors of length 1, shape (V, 256) float32; 0 where nothing can be seen.
    """
    if not gray.numel():
        return torch.zeros(len(gray), PIXELS, dtype=torch.float32, device=gray.device)
    every = max(1, min(gray.shape[1:]) // CUT_SIDE)
    levels = gray[:, None, every // 2 :: every, every // 2 :: every].float()
    return _normalise_contrast(adaptive_avg_pool2d(levels, SIDE))


def normalised_cross_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Correlations of descriptors (R, 256) with descriptors (K, 256), shape (R, K); 0 for unknown ones."""
    return one @ other.mT / one.norm(dim=1, keepdim=True).clamp_min(torch.finfo(one.dtype).tiny)


def moving_average(average: Tensor, newest: Tensor) -> Tensor:
    """Exponential moving averages (EMA) of descriptors (R, 256) with the newest ones (R, 256) taken in."""
    return torch.where(is_known(average)[:, None], torch.lerp(average, newest, EMA_WEIGHT), newest)


def is_known(descriptors: Tensor) -> Tensor:
    """Faces (R,) whose appearance is known."""
    return descriptors.any(dim=1)


def _normalise_contrast(levels: Tensor) -> Tensor:
    """Crops (B, 1, s, s) after local contrast normalisation, as vectors (B, s * s) of mean 0 and length 1."""
    centred = levels - _local_mean(levels)
    normalised = centred / (_local_mean(centred.square()).sqrt() + NOISE)
    descriptors = normalised.flatten(1) - normalised.mean((1, 2, 3))[:, None]
    length = descriptors.norm(dim=1, keepdim=True)
    # Also where it is not a number
    return torch.where(length > LEAST_LENGTH, descriptors / length, 0)


def _local_mean(levels: Tensor) -> Tensor:
    """Means of the windows around the pixels of images (B, 1, s, s)."""
    return avg_pool2d(levels, WINDOW, 1, WINDOW // 2, count_include_pad=False)
