"""Joint experts: the experts of all landmarks as one network that sees the whole face at once."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import CutAreas, Experts

ZOOM = 2  # the network looks at the face in this times the resolution of its maps
CPU_FACES, CUDA_FACES = 16, 1024  # shown to the network at once


class JointExperts(Experts):
    """Experts that share all but their last layer, and with it what they know about faces.

    A patch expert decides by a small patch whether its landmark lies there; what the rest of the face says about it
    only comes in by the shape model. These see the face whole, upright in the reference frame. Each gives one map
    over the face, the softmax of its scores: how probable it is that its landmark lies in a cell. The response map of a
    landmark is the part of that map around where the landmark is thought to be.

    Args:
        scale: Of the maps, pixels per millimetre.
        view_centers: Euler angles in radians, shape (V, 3).
        visible: bool, shape (V, N).
        confidence: Shape (V, N).
        width: Side A of the area that the network looks at, in pixels of half a reference pixel.
        network: Scores (B, N, A / 2, A / 2) for grey areas (B, A, A); column u of its maps lies at pixel 2 u.
    """

    def __init__(
        self, scale: float, view_centers: Tensor, visible: Tensor, confidence: Tensor, width: int, network: nn.Module
    ) -> None:
        super().__init__(scale, view_centers, visible, confidence)
        self.width, self.network = width, network

    def around(
        self, landmarks: Tensor, to_image: Tensor, view: Tensor, window: int, cut: CutAreas, numerics: Numerics
    ) -> tuple[Tensor, Tensor]:
        """Parts of the face's maps whose middles are the cells nearest to the landmarks; see `Experts.around`."""
        middle = landmarks.mean(1, keepdim=True)
        maps = self.maps(cut(middle, to_image / ZOOM, self.width, smooth=True)[:, 0])
        origin = (self.width - 1) / (2 * ZOOM)  # the cell, not a whole one, at the middle of the area
        from_middle = torch.linalg.solve_ex(to_image, (landmarks - middle).mT)[0].mT
        nearest = (from_middle.detach() + origin).round().nan_to_num(0.0).clamp(0, maps.shape[-1] - 1)
        responses = cut_windows(maps, nearest.long(), window) * self.visible[view, :, None, None]
        return responses, middle + (nearest - origin) @ to_image.mT

    def maps(self, areas: Tensor) -> Tensor:
        """Probability of each landmark in every cell, shape (B, N, A / 2, A / 2), of areas (B, A, A)."""
        if not len(areas):
            return areas.new_zeros(0, self.visible.shape[1], self.width // ZOOM, self.width // ZOOM)
        some = CPU_FACES if areas.device.type == "cpu" else CUDA_FACES
        scores = torch.cat([self.network(block) for block in areas.split(some)])
        return scores.flatten(2).softmax(-1).view(scores.shape)


def cut_windows(maps: Tensor, middle: Tensor, window: int) -> Tensor:
    """Square parts of maps.

    Args:
        maps: Shape (B, N, H, H).
        middle: The cell (x, y) in the middle of each part, int64, shape (B, N, 2), inside the map.
        window: Side R of the parts, odd.

    Returns:
        Shape (B, N, R, R); 0 outside the maps.
    """
    reach = window // 2
    padded = pad(maps, (reach, reach, reach, reach))
    steps = torch.arange(window, device=maps.device)
    cells = (middle[..., 1, None, None] + steps[:, None]) * padded.shape[-1] + middle[..., 0, None, None] + steps
    return padded.flatten(2).gather(2, cells.flatten(2)).view(*maps.shape[:2], window, window)
