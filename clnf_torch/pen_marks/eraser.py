"""Erases pen marks from frames, around the faces in them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.boxes import boxes_from
from clnf_torch.geometry.frames import Frames, as_frames
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.models.bundle import BundleError, installed_file, load_bundle
from clnf_torch.models.eraser_network import COLOURS, EraserNetwork, mark_strength
from clnf_torch.models.numerics import EXACT
from clnf_torch.models.patch_experts.base import CropRequest
from clnf_torch.pipeline.inputs import check_points, image_index_of_each

# The square that the network sees: in longer sides of the box, and how far its middle lies above the box's, in sides of
# the square; pixels of its side
EXTENT, ABOVE, SIDE = 1.55, 0.05, 256
# Faces that the network sees at once, and pixels of frames that are changed at once
CPU_FACES, CUDA_FACES = 16, 256
CPU_PIXELS, CUDA_PIXELS = 1 << 21, 1 << 26
# Of strengths that are divided by
LEAST_STRENGTH = 1e-6
INSTALLED = "pen_marks.pt"  # with the package


class PenMarkEraser(nn.Module):
    """Takes pen marks away from faces, and leaves what is not drawn on as it is.

    Landmark networks follow lines on skin. What this gives may go into any of them, not this package's alone.

    Args:
        network: Sees the marks.
    """

    def __init__(self, network: EraserNetwork) -> None:
        super().__init__()
        self.network = network

    @in_own_precision
    @torch.no_grad()
    def erase(self, frames: Frames, boxes: Any, image_index: Any = None, *, box_format: str = "xywh") -> Tensor:
        """Frames without the pen marks on these faces. No gradients flow through it.

        Args:
            frames: See `as_frames`. Marks are told from skin by their colour, too: of gray frames less is erased.
            boxes: Extent of the faces' landmarks, as `FaceDetector` gives them, pixels, shape (B, 4). Faces whose box
                is not finite, has no area, or lies in a frame that is not there, are left out.
            image_index: Which of the frames each face is in, shape (B,); may be left out for one frame, or for one face
                per frame.
            box_format: ``"xywh"`` or ``"xyxy"``.

        Returns:
            Frames of the same number type, (F, 1, H, W) or (F, 3, H, W), on the eraser's device; uint8 ones are
            rounded. They may be those that were given.

        Raises:
            ValueError: Shapes or types are wrong.
        """
        weight = self.network.first.weight
        frames = as_frames(frames).to(weight.device)
        boxes = boxes_from(check_points("boxes", boxes, (4,), weight), box_format)
        image_index = image_index_of_each(frames[:, 0], image_index, len(boxes)).to(weight.device)
        usable = boxes.isfinite().all(1) & (boxes[:, 2:] > 0).all(1)
        usable &= (image_index >= 0) & (image_index < len(frames))
        boxes, image_index = boxes[usable], image_index[usable]
        if not len(boxes):
            return frames
        side = EXTENT * boxes[:, 2:].amax(1)
        middle = boxes[:, :2] + boxes[:, 2:] / 2
        middle[:, 1] -= ABOVE * side
        return _pasted(frames, self._skin(frames, middle, side, image_index), middle, side, image_index)

    def _skin(self, frames: Tensor, middle: Tensor, side: Tensor, image_index: Tensor) -> Tensor:
        """What the squares around faces show below marks, times its share, and this share, (B, 4, SIDE, SIDE)."""
        colours = frames if frames.shape[1] == COLOURS else frames.expand(-1, COLOURS, -1, -1)
        images = colours.flatten(0, 1)
        of_each = (image_index[:, None] * COLOURS + torch.arange(COLOURS, device=frames.device)).flatten()
        scale = (side / SIDE)[:, None, None] * torch.eye(2, device=side.device, dtype=side.dtype)
        centers, to_image = (each.repeat_interleave(COLOURS, 0) for each in (middle[:, None], scale))
        request = CropRequest(centers=centers, to_image=to_image, width=SIDE, smooth=True)
        crops, _ = ImageBatch(images, of_each).crop(request, EXACT)
        # A pixel that is no number would take its whole face along
        crops = crops.float().nan_to_num(0.0, 0.0, 0.0).view(-1, COLOURS, SIDE, SIDE)
        found = []
        for some in crops.split(CPU_FACES if crops.device.type == "cpu" else CUDA_FACES):
            skin, logits = self.network(some)
            strength = mark_strength(logits)
            found.append(torch.cat((skin * strength, strength), 1))
        return torch.cat(found)


def _pasted(frames: Tensor, skin: Tensor, middle: Tensor, side: Tensor, image_index: Tensor) -> Tensor:
    """Frames with the skin of `PenMarkEraser._skin` in squares of such middles (B, 2) and sides (B,)."""
    height, width = frames.shape[-2:]
    first, last = (middle - side[:, None] / 2).floor().long(), (middle + side[:, None] / 2).ceil().long()
    low, high = first.amin(0).clamp_min(0), (last.amax(0) + 1).clamp_max(first.new_tensor((width, height)))
    # The only transfer: where faces are at all, and how large the largest one is
    left, top, right, bottom, window = torch.cat((low, high, (last - first).amax()[None] + 1)).tolist()
    if right <= left or bottom <= top:
        return frames
    rows, columns = bottom - top, right - left
    # Skin times its share, shares, and their squares: of faces that overlap each counts as it is sure
    total = skin.new_zeros(len(frames) * rows * columns, COLOURS + 2)
    pixels = CPU_PIXELS if frames.device.type == "cpu" else CUDA_PIXELS
    steps = torch.arange(window, device=frames.device)
    for some in torch.arange(len(skin), device=frames.device).split(max(1, pixels // window**2)):
        place = first[some, :, None] + steps  # (b, 2, window)
        there = 2 * (place - middle[some, :, None]) / side[some, None, None]
        grid = torch.stack((there[:, :1].expand(-1, window, -1), there[:, 1, :, None].expand(-1, -1, window)), -1)
        seen = grid_sample(skin[some], grid, align_corners=False)
        seen = torch.cat((seen, seen[:, COLOURS:].square()), 1)
        x, y = place[:, 0] - left, place[:, 1] - top
        inside = ((x >= 0) & (x < columns))[:, None] & ((y >= 0) & (y < rows))[:, :, None]
        cells = (image_index[some, None] * rows + y)[:, :, None] * columns + x[:, None]
        total.index_add_(0, cells[inside], seen.movedim(1, -1)[inside])
    total = total.view(len(frames), rows, columns, COLOURS + 2).movedim(-1, 1)
    colour, _, share = (total / total[:, COLOURS, None].clamp_min(LEAST_STRENGTH)).split((COLOURS, 1, 1), 1)
    if frames.shape[1] == 1:
        colour = to_gray(colour)[:, None]
    part = frames[..., top:bottom, left:right]
    exact = torch.promote_types(part.dtype, colour.dtype)
    erased = torch.lerp(part.to(exact), colour.to(exact), share.to(exact)).clamp(0, 255)
    whole = frames.clone()
    whole[..., top:bottom, left:right] = erased if frames.is_floating_point() else erased.round().to(frames.dtype)
    return whole


def load_pen_mark_eraser(path: str | Path | None = None, device: torch.device | str = "cpu") -> PenMarkEraser:
    """The eraser of pen marks in a bundle.

    Args:
        path: A bundle from ``clnf-torch train eraser``; None: the eraser that is installed with the package.
        device: Where to put it.

    Raises:
        BundleError: The file is damaged, no bundle, or holds no eraser.
    """
    path = installed_file(INSTALLED) if path is None else path
    record = load_bundle(path).get("pen_mark_eraser")
    if record is None:
        raise BundleError(f"{path}: holds no eraser of pen marks; make one with: clnf-torch train eraser PORTRAITS")
    return PenMarkEraser(EraserNetwork.from_record(record)).to(device)
