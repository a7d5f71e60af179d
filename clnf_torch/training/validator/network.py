"""The network of a validator while it is trained, and its reference frame: the mean shape, triangles, pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clnf_torch.detection.validator import is_face
from clnf_torch.detection.view_validator import ViewValidator, confidence_of
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.models.numerics import EXACT
from clnf_torch.training.data.crops import image_pyramid


def passing_bins(bins: int) -> int:
    """How many of C bins the runtime accepts as faces."""
    return int(is_face(confidence_of(torch.eye(bins))).sum())


def bin_positions(errors: Tensor, bins: int, failure_limit: float) -> Tensor:
    """Positions of errors (NME) among the bins: between k and k + 1 in bin k; in the middle of the last one.

    Args:
        errors: Shape (B,), maybe infinite.
        bins: Number of bins C.
        failure_limit: The error below which landmarks are taken for a face.
    """
    return (errors * (passing_bins(bins) / failure_limit)).clamp(max=bins - 0.5)


def soft_targets(errors: Tensor, bins: int, failure_limit: float, target_sigma: float) -> Tensor:
    """Soft targets of the classification into bins of error: Gaussians around the true bins (label smoothing).

    Args:
        errors: Shape (B,).
        bins: Number of bins C.
        failure_limit: The error below which landmarks are taken for a face.
        target_sigma: Width of the Gaussian, bins.

    Returns:
        Shares, shape (B, C).
    """
    middles = torch.arange(bins, device=errors.device) + 0.5
    away = middles - bin_positions(errors, bins, failure_limit)[:, None]
    return torch.softmax(-0.5 * (away / target_sigma).square(), -1)


# Side of the filters but the first
KERNEL = 3
# Side of the first filters, which see the image itself
FIRST = 5


def make_network(side: int, widths: Sequence[int], hidden: int, bins: int) -> nn.Sequential:
    """A convolutional network with random weights.

    Args:
        side: Of its input images, pixels.
        widths: Channels after each convolution; all but the last are halved in size afterwards.
        hidden: Width of the layer before the scores.
        bins: Number of scores C.

    Returns:
        Maps images (B, 1, side, side) to scores (B, C).
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(zip((1, *widths), widths, strict=False)):
        kernel = KERNEL if number else FIRST
        layers += [_convolution(before, after, kernel), nn.ReLU()]
        side -= kernel - 1
        if number < len(widths) - 1:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
            side = (side + 1) // 2
    if side < 1:
        raise ValueError(f"{len(widths)} convolutions leave nothing of the images; make them larger")
    layers += [nn.Flatten(), nn.Linear(widths[-1] * side * side, hidden), nn.ReLU(), nn.Linear(hidden, bins)]
    return nn.Sequential(*layers)


def _convolution(before: int, after: int, kernel: int) -> nn.Conv2d:
    """A valid convolution whose weights lie in memory as its fastest implementation on the CPU wants them."""
    module = nn.Conv2d(before, after, kernel)
    module.weight = nn.Parameter(module.weight.detach().contiguous(memory_format=torch.channels_last))
    return module


# Of the points' extent: points on one circle, as mirror-symmetric shapes have them, must not stay there
JITTER = 1e-6


def delaunay(points: Tensor) -> Tensor:
    """Delaunay triangulation by brute force: for up to some hundred points.

    Args:
        points: Shape (N, 2), no two of them the same.

    Returns:
        Their corners in ascending order, int64, shape (T, 3).
    """
    points = points.double()
    points = (points - points.mean(0)) / (points.amax(0) - points.amin(0)).amax()
    points = points + JITTER * torch.randn(points.shape, generator=torch.Generator().manual_seed(0)).double()
    triangles = torch.combinations(torch.arange(len(points)), 3)
    # A circle is a plane cut of the paraboloid
    lifted = torch.cat((points, points.square().sum(-1, keepdim=True)), -1)
    first, second, third = lifted[triangles].unbind(1)
    normal = torch.linalg.cross(second - first, third - first)  # (K, 3)
    # Upwards: points inside the circle lie below the plane
    normal = normal * normal[:, 2:].sign()
    height = normal @ lifted.T - (normal * first).sum(-1, keepdim=True)  # (K, N)
    own = torch.zeros_like(height, dtype=torch.bool).scatter_(1, triangles, True)
    return triangles[((height > 0) | own).all(-1)]


# Rounding that keeps no pixel on an edge from belonging to a triangle
EDGE = 1e-9


def make_warp_table(shape: Tensor, side: int) -> dict[str, Tensor]:
    """The piecewise affine warp of a validator's view, in the fields of a bundle.

    Args:
        shape: The shape in the reference frame (x, y), in any unit, shape (N, 2). Its longer extent fills the side.
        side: Height and width of the network's input image, pixels.

    Returns:
        ``triangles``, ``alpha``, ``beta``, ``origin``, ``pixels`` and ``triangle``; see converters/README.md.
    """
    corners = frame_landmarks(shape, side)
    triangles = delaunay(corners)
    alpha, beta = corner_weights(corners, triangles)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    place = torch.stack((torch.ones(side, side), column, row), -1).double().flatten(0, 1)
    second, third = place @ alpha.T, place @ beta.T  # (side * side, T)
    inside = (second > -EDGE) & (third > -EDGE) & (second + third < 1 + EDGE)
    pixels = inside.any(-1).nonzero().squeeze(-1)
    return {
        "triangles": triangles,
        "alpha": alpha,
        "beta": beta,
        "origin": torch.zeros(2, dtype=torch.float64),
        "pixels": pixels,
        "triangle": inside[pixels].int().argmax(-1),
    }


def frame_landmarks(shape: Tensor, side: int) -> Tensor:
    """A shape (N, 2) centred in the network's input image, pixels, float64, shape (N, 2)."""
    shape = shape.detach().double()
    low, high = shape.amin(0), shape.amax(0)
    return (shape - (low + high) / 2) * ((side - 1) / (high - low).amax()) + (side - 1) / 2


def corner_weights(corners: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentric coordinates of each triangle's second and third corner at (1, x, y): alpha and beta, (T, 3) each."""
    three = corners[triangles]
    at_corners = torch.cat((torch.ones_like(three[..., :1]), three), -1)  # (T, 3, 3)
    # Column c weighs 1 at corner c and nothing at the others
    weights = torch.linalg.inv(at_corners)
    return weights[..., 1].contiguous(), weights[..., 2].contiguous()


# Of a pixel; constant ones carry no information
LEAST_DEVIATION = 1e-3


def trainable_view(table: dict[str, Tensor], side: int, network: nn.Module) -> ViewValidator:
    """The runtime's validator of a view around a network that can be trained, with mean 0 and deviation 1.

    Args:
        table: From `make_warp_table`.
        side: Height and width of the network's input images, pixels.
        network: Maps images (B, 1, side, side) to scores (B, C).
    """
    places = table["pixels"]
    column_row = torch.stack((places % side, places // side), -1)
    warp = {
        "triangles": table["triangles"],
        "alpha": table["alpha"].float(),
        "beta": table["beta"].float(),
        "pixels": (column_row + table["origin"]).float(),
        "triangle": table["triangle"],
    }
    return ViewValidator(warp, places, (side, side), torch.zeros(len(places)), torch.ones(len(places)), network)


def set_statistics(view: ViewValidator, images: ImageBatch, shapes: Sequence[Tensor]) -> None:
    """Gives a view the mean and standard deviation of every pixel, over faces with landmarks (B, N, 2) in `shapes`."""
    pixels = view.normalise(torch.cat([warped_pixels(view, images, landmarks) for landmarks in shapes]))
    view.mean, view.deviation = pixels.mean(0), pixels.std(0).clamp(min=LEAST_DEVIATION)


def warped_pixels(view: ViewValidator, images: ImageBatch, landmarks: Tensor) -> Tensor:
    """Gray levels (B, P) between landmarks (B, N, 2) in the images of B faces, as the runtime reads them."""
    return view.warp(images, landmarks, landmarks.new_zeros(len(landmarks), 2), EXACT)


def pyramid_batches(gray: Tensor, levels: int) -> list[ImageBatch]:
    """The pyramid of images (F, S, S), uint8, one face in each."""
    face = torch.arange(len(gray), device=gray.device)
    return [ImageBatch(size, face) for size in image_pyramid(gray, levels)]
