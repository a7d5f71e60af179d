"""Mesh experts: heatmap experts of a network that begins as one that knows faces: MediaPipe's face mesh.

Source:
    Y. Kartynnik et al., *Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs*, 2019.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from clnf_torch.models import compiled
from clnf_torch.models.batch_invariant import Conv2d
from clnf_torch.models.blaze_block import BlazeBlock, PReLU
from clnf_torch.models.patch_experts.heatmap import MOST_CHANNELS, HeatmapExperts
from clnf_torch.models.patch_experts.heatmap_network import (
    HeatmapNetwork,
    convolution,
    standardised,
)
from clnf_torch.models.schema import Context, Fields, Number, Several

# Asked twice, from wherever the box is and from where that leads; benchmarks/README.md says how it was chosen
_PRESET: dict[str, Any] = {
    "window_sizes": (47, 15),
    "sigma": (5.0, 1.5),
    "regularisation": (0.3, 0.03),
    "adapt": False,
    "any_size": True,
}
# How often a fit asks them
PASSES = len(_PRESET["window_sizes"])
# Channels of the trunk's maps, each half as large as those before, the largest of half the image's side; and how many
# blocks follow the one that halves them
TRUNK, BLOCKS = (16, 32, 64, 128, 128, 128), (2, 2, 2, 2, 2, 1)
# Channels on the way back to the maps of scores: of separable filters in the small network, of full ones in the large
SMALL, LARGE = (128, 96, 64, 40), (160, 128, 80, 48)


class MeshNetwork(HeatmapNetwork):
    """Maps of scores at a quarter of the resolution of the image.

    The trunk is that of MediaPipe's face mesh, which was trained on far more faces than anybody has annotated with 68
    points; what brings its maps back to the resolution of the scores is new.

    Args:
        landmarks: Number N of maps.
        widths: Channels on the way back, of full filters; () for the small network, whose filters are separable.
        normalised: Whether there is batch normalisation on the way back of full filters; see `HeatmapNetwork`.

    Attributes:
        back: The argument `widths`; `widths` are those of all layers.
    """

    # Names of the layers that begin as MediaPipe's; the others are new
    trunk_layers: ClassVar[tuple[str, ...]] = ("stem", "rectify", "down")
    stride = 4
    # Mean and standard deviation of the gray levels that the trunk was trained on, nearly, in parts of white
    levels = 0.45, 0.25

    def __init__(self, landmarks: int, widths: Sequence[int] = (), normalised: bool = False) -> None:
        super().__init__()
        back = tuple(widths) or SMALL
        self.landmarks, self.back, self.normalised = landmarks, tuple(widths), normalised and bool(widths)
        self.widths = (*TRUNK, *back)
        self.stem, self.rectify = Conv2d(1, TRUNK[0], 3, 2), PReLU(TRUNK[0])
        self.down = nn.ModuleList()
        for level, (channels, count) in enumerate(zip(TRUNK, BLOCKS, strict=True)):
            halving = [_block(TRUNK[level - 1], channels, 2)] if level else []
            self.down.append(nn.Sequential(*halving, *(_block(channels, channels) for _ in range(count))))
        # The largest maps are not needed again
        sizes = TRUNK[-2:0:-1]
        self.across = nn.ModuleList(Conv2d(wide, own, 1) for wide, own in zip(sizes, back, strict=True))
        self.narrow = nn.ModuleList(Conv2d(wide, own, 1) for wide, own in pairwise((TRUNK[-1], *back)))
        self.up = nn.ModuleList(
            convolution(own, own, 3, self.normalised) if widths else _block(own, own) for own in back
        )
        self.head = Conv2d(back[-1], landmarks, 1)

    def forward(self, gray: Tensor) -> Tensor:
        """Scores (B, N, A/4, A/4) of gray images (B, A, A); each image's own brightness and contrast are lost."""
        middle, spread = self.levels
        shown = standardised(gray) * spread + middle
        maps, levels = self.rectify(self.stem(pad(shown[:, None], (0, 1, 0, 1)))), []
        for down in self.down:
            maps = down(maps)
            levels.append(maps)
        maps = levels.pop()
        for across, narrow, up in zip(self.across, self.narrow, self.up, strict=True):
            maps = up(across(levels.pop()) + interpolate(narrow(maps), scale_factor=2, mode="nearest"))
        return self.head(maps)

    def unnormalised(self) -> "MeshNetwork":
        """See `HeatmapNetwork.unnormalised`."""
        return MeshNetwork(self.landmarks, self.back)

    def loops(self) -> Any:
        """See `HeatmapNetwork.loops`."""
        return compiled.kernels().mesh_layers(self)


def _block(inputs: int, outputs: int, stride: int = 1) -> BlazeBlock:
    """A block of the trunk, or of the way back."""
    return BlazeBlock(inputs, outputs, stride, PReLU(outputs))


class MeshExperts(HeatmapExperts):
    """Heatmap experts of a `MeshNetwork`; see `HeatmapExperts`."""

    name = "mesh"
    zoom = MeshNetwork.stride
    fit_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": _PRESET,
        "tracking": {**_PRESET, "window_sizes": (0, 15)},
        "wild": {**_PRESET, "iterations": 10, "multi_view": True},
    }

    def sizes(self) -> dict[str, Any]:
        """The channels of full filters; nothing for the small network."""
        assert isinstance(self.network, MeshNetwork)
        return {"widths": list(self.network.back)} if self.network.back else {}

    @classmethod
    def check_sizes(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """See `HeatmapExperts.check_sizes`."""
        widths = Several(Number(1, MOST_CHANNELS, whole=True), len(LARGE), len(LARGE))
        Fields({}, optional={"widths": widths}).check(record, where, context)
        channels = max((context.sizes["N"], *record.get("widths", ())))
        cls.check_side(record["width"], len(TRUNK), channels, where)

    @classmethod
    def untrained(cls, landmarks: int, widths: tuple[int, ...]) -> nn.Module:
        """See `HeatmapExperts.untrained`."""
        return MeshNetwork(landmarks, widths)
