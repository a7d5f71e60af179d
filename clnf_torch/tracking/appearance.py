"""What faces look like: small upright images without light and contrast, compared by correlation."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from clnf_torch.geometry.sampling import cells_at, pad_with_black, read_bilinear
from clnf_torch.geometry.similarity import similarity_between

# Pixels of an image
SIDE = 16
# How much of the face's larger extent is shown: less background, more eyes, nose and mouth
SHARE = 0.84
# Pixels over which light and contrast are evened out
SURROUNDINGS = 9
# Gray levels; contrast below is not raised
NOISE = 4.0
# Weight of the newest image in what is remembered
LEARNING = 0.05

PIXELS = SIDE * SIDE


def appearance_descriptor(gray: Tensor, image: Tensor, landmarks: Tensor, mean: Tensor) -> Tensor:
    """Images of faces, turned upright and brought to one size by their landmarks.

    Args:
        gray: Images, uint8, shape (F, H, W).
        image: Image of each face, int64, shape (B,).
        landmarks: Pixels, shape (B, N, 2).
        mean: The mean shape, millimetres, shape (N, 3).

    Returns:
        Shape (B, 256), each of length 1; 0 where nothing can be seen.
    """
    points = mean[:, :2]
    lowest, highest = points.amin(0), points.amax(0)
    steps = (torch.arange(2 * SIDE, dtype=mean.dtype, device=mean.device) + 0.5) / (2 * SIDE) - 0.5
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).flatten(0, 1)
    grid = grid * SHARE * (highest - lowest).amax() + (lowest + highest) / 2 - points.mean(0)
    to_image = similarity_between(points.expand_as(landmarks), landmarks)
    positions = grid @ to_image.mT + landmarks.mean(1, keepdim=True)
    levels = read_bilinear(pad_with_black(gray), image, cells_at(positions), mean.dtype)
    return _evened(avg_pool2d(levels.view(-1, 1, 2 * SIDE, 2 * SIDE), 2))


def normalised_cross_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Correlations of looks (R, 256) with looks (K, 256), shape (R, K); 0 for those that nothing is known of."""
    return one @ other.mT / one.norm(dim=1, keepdim=True).clamp_min(torch.finfo(one.dtype).tiny)


def remembered(looks: Tensor, newest: Tensor) -> Tensor:
    """Running means of the looks (R, 256) of faces, with the newest ones (R, 256) taken in."""
    return torch.where(known(looks)[:, None], torch.lerp(looks, newest, LEARNING), newest)


def known(looks: Tensor) -> Tensor:
    """Faces (R,) of which it is known what they look like."""
    return looks.any(dim=1)


def _evened(levels: Tensor) -> Tensor:
    """Images (B, 1, s, s) with the same light and contrast everywhere, as vectors of length 1."""
    apart = levels - _blurred(levels)
    even = apart / (_blurred(apart.square()).sqrt() + NOISE)
    looks = even.flatten(1) - even.mean((1, 2, 3))[:, None]
    length = looks.norm(dim=1, keepdim=True)
    # Also where it is not a number
    return torch.where(length > 1e-3, looks / length, 0)


def _blurred(levels: Tensor) -> Tensor:
    """Means of the surroundings in images (B, 1, s, s)."""
    return avg_pool2d(levels, SURROUNDINGS, 1, SURROUNDINGS // 2, count_include_pad=False)
