"""A package beside clnf_torch: a face detector, a family of patch experts, and a landmark model of them."""

import torch

from clnf_torch import FaceBoxes, LandmarkModel, load
from clnf_torch.models.patch_experts.base import PatchExperts, common_fields
from clnf_torch.models.schema import Fields, Number


class MiddleDetector:
    """Takes the middle of every image for a face."""

    def __init__(self, share=0.5):
        self.share = share

    def detect(self, frames):
        """A face in each of the frames (F, 1 or 3, H, W)."""
        count, _, height, width = frames.shape
        side = self.share * min(height, width)
        box = torch.tensor([(width - side) / 2, (height - side) / 2, side, side], device=frames.device)
        index = torch.arange(count, device=frames.device)
        return FaceBoxes(boxes=box.expand(count, 4), score=torch.ones_like(index).float(), image_index=index)

    # This and the next two: so that bundles hold it
    def to_record(self):
        """The detector as a bundle holds it."""
        return {"kind": "acme_middle", "share": self.share}

    @classmethod
    def from_record(cls, record, dtype):
        """The detector in a record."""
        return cls(record["share"])

    @staticmethod
    def check_record(record, where, context):
        """Refuses what is no such record."""
        Fields({"share": Number(0.01, 1)}).check(record, where, context)


class DarkExperts(PatchExperts):
    """Experts that take the darkest places for their landmarks."""

    name = "acme_dark"

    def respond(self, areas, view, numerics):
        """Response maps (B, N, R, R) of areas (B, N, A, A)."""
        reach = self.support // 2
        middle = areas[..., reach : areas.shape[-1] - reach, reach : areas.shape[-1] - reach]
        return (1 - middle / 255) * self.visible[view, :, None, None]

    @classmethod
    def from_record(cls, record, dtype):
        """The experts in a record."""
        return cls(**common_fields(record, dtype))


def dark_faces():
    """A landmark model: the shapes of the default one, with experts of one's own. The path of a bundle would do too."""
    pdm = load().model.pdm
    seen = torch.ones(1, pdm.num_landmarks, dtype=torch.bool)
    return LandmarkModel(pdm, [DarkExperts(0.25, 3, torch.zeros(1, 3), seen, seen.float())])
