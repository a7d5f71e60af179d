"""Heatmap experts of a small network that begins as MediaPipe's face mesh: faces in fewer operations."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from clnf_torch.models.patch_experts.heatmap import MOST_NUMBERS, HeatmapExperts
from clnf_torch.models.patch_experts.mesh_network import TRUNK, MeshNetwork
from clnf_torch.models.schema import Context, SchemaError

# How often a fit asks them
PASSES = 2
# Asked twice, from wherever the box is and from where that leads; benchmarks/README.md says how it was chosen
_PRESET: dict[str, Any] = {
    "window_sizes": (47, 15),
    "sigma": (5.0, 1.5),
    "regularisation": (0.3, 0.03),
    "adapt": False,
    "any_size": True,
}


class MeshExperts(HeatmapExperts):
    """Heatmap experts of one `MeshNetwork` for all scales of a fit; see `HeatmapExperts`."""

    name = "mesh"
    zoom = MeshNetwork.stride
    fit_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": _PRESET,
        "tracking": {**_PRESET, "window_sizes": (0, 15)},
        "wild": {**_PRESET, "iterations": 10, "multi_view": True},
    }

    def sizes(self) -> dict[str, Any]:
        """None: all networks have the same widths."""
        return {}

    @classmethod
    def check_sizes(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """See `HeatmapExperts.check_sizes`."""
        side, halvings = record["width"], len(TRUNK)
        if side % 2**halvings or (side // cls.zoom) ** 2 * context.sizes["N"] > MOST_NUMBERS:
            raise SchemaError(f"{where}.width: expected a side that {halvings} halvings divide, found {side}")

    @classmethod
    def untrained(cls, landmarks: int, widths: tuple[int, ...]) -> nn.Module:
        """See `HeatmapExperts.untrained`."""
        return MeshNetwork(landmarks)
