"""Response maps around landmarks: patch experts request crops of the images, and respond to what they see."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.pdm import PDM, ShapeParams

# A variance, in cells, that counts as none; and what an empty map's sum is taken for
TINY, EMPTY = 1e-6, 1e-30


@dataclass(frozen=True, kw_only=True)
class ResponseField:
    """The response maps of B faces, and where they lie in the image.

    Attributes:
        responses: Response maps, rows along y, shape (B, N, R, R).
        base: Positions in the image of the maps' middles, pixels, shape (B, N, 2).
        to_reference: The map from the image to the reference frame, shape (B, 2, 2).
        to_image: The map from the reference frame to the image, shape (B, 2, 2).
        weight: Weight of each landmark in the fit, 0 where it is not visible, shape (B, N).
    """

    responses: Tensor
    base: Tensor
    to_reference: Tensor
    to_image: Tensor
    weight: Tensor

    def positions(self, landmarks: Tensor) -> Tensor:
        """Landmarks (B, N, 2) in cells of their response maps."""
        middle = (self.responses.shape[-1] - 1) // 2
        return torch.bmm(landmarks - self.base, self.to_reference.mT) + middle

    def spreads(self) -> Tensor:
        """Root mean square distance of the responses from their centroid, pixels, shape (B, N); NaN of an empty map."""
        own = torch.promote_types(self.responses.dtype, torch.float32)
        cells = torch.arange(self.responses.shape[-1], dtype=own, device=self.responses.device)
        columns, rows = self.responses.sum(-2), self.responses.sum(-1)
        mass = rows.sum(-1)
        safe = torch.where(mass > 0, mass, 1)
        squares = ((columns + rows) * cells.square()).sum(-1) / safe
        means = ((columns * cells).sum(-1) / safe).square() + ((rows * cells).sum(-1) / safe).square()
        # Pixels of the image in a cell: a similarity's columns have one length
        size = torch.linalg.vector_norm(self.to_image[:, :, 0], dim=-1, keepdim=True)
        # The gradient at a single filled cell is finite too
        return torch.where(mass > 0, (squares - means).clamp(min=TINY).sqrt() * size, torch.nan)

    def centroids(self, known: Tensor) -> Tensor:
        """Centroids of the response maps in the image, pixels, shape (B, N, 2).

        Args:
            known: Landmarks that have one, bool, shape (B, N); the others, and those whose map is empty, get NaN.
        """
        middle = (self.responses.shape[-1] - 1) / 2
        own = torch.promote_types(self.responses.dtype, torch.float32)
        cells = torch.arange(-middle, middle + 1, dtype=own, device=self.responses.device)
        sums = torch.stack((self.responses.sum(-2), self.responses.sum(-1)), 2)
        mass, moments = sums[:, :, 1].sum(-1, keepdim=True), (sums * cells).sum(-1)
        # An empty map sends no gradients
        offset = torch.bmm(moments / mass.clamp(min=EMPTY), self.to_image.mT)
        return torch.where(known[..., None] & (mass > 0), self.base + offset, torch.nan)


def respond(
    experts: Experts,
    pdm: PDM,
    images: ImageBatch,
    params: ShapeParams,
    view: Tensor,
    weight: Tensor,
    window: int,
    numerics: Numerics,
) -> tuple[ResponseField, Tensor]:
    """The patch experts' responses around the landmarks of fitted shapes.

    Args:
        experts: The experts of one scale.
        pdm: The shape model.
        images: The images of the faces.
        params: Pose and shape of the faces, finite in every row.
        view: View of each face, int64, shape (B,).
        weight: Weight of each landmark, shape (B, N).
        window: Side R of the response maps, reference pixels, odd.
        numerics: OpenFace's approximations or the exact forms.

    Returns:
        The response maps, and the faces whose image could be read, bool, shape (B,).

    Source:
        OpenFace ``Patch_experts::Response``.
    """
    landmarks = pdm.landmarks(params)
    to_reference = similarity_between(landmarks, pdm.reference_landmarks(params.local, experts.scale))
    to_image = invert_similarity(to_reference)
    request = experts.crop_request(landmarks, to_image, window)
    crops, readable = images.crop(request, numerics)
    responses, base = experts.respond_around(landmarks, request, crops, view, window, numerics)
    field = ResponseField(responses=responses, base=base, to_reference=to_reference, to_image=to_image, weight=weight)
    return field, readable
