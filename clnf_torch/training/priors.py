"""Shapes to begin a training of shapes with: those of a blendshape model, or of a bundle."""

from pathlib import Path

import numpy as np
import torch

from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.training.shape_gaussian import ShapeGaussian


class PriorError(ValueError):
    """A file that holds no shapes."""


def read_prior(path: Path) -> ShapeGaussian:
    """The shapes in a file.

    Args:
        path: A bundle, whose shape model it is; or a ``.npz`` with ``mean`` (N, 3), ``identity`` (I, N, 3) and
            ``expression`` (E, N, 3) in the axes and units of ICT-FaceKit (centimetres, y up).

    Raises:
        PriorError: The file is neither.
        BundleError: The file is a damaged bundle.
    """
    if path.suffix != ".npz":
        return ShapeGaussian.of_pdm(build_model(load_bundle(path), torch.float64).pdm)
    try:
        with np.load(path) as arrays:
            mean, identity, expression = (torch.from_numpy(arrays[k]) for k in ("mean", "identity", "expression"))
    except Exception as error:  # numpy names several, depending on what the file turns out to be
        raise PriorError(f"{path}: expected arrays mean, identity and expression in a .npz, found {error}") from error
    points = tuple(mean.shape)
    if mean.shape[1:] != (3,) or identity.shape[1:] != points or expression.shape[1:] != points:
        raise PriorError(
            f"{path}: mean {points}, identity {tuple(identity.shape)} and expression {tuple(expression.shape)} do not "
            "belong together; expected (N, 3), (I, N, 3) and (E, N, 3)"
        )
    return ShapeGaussian.of_blendshapes(mean, identity, expression)
