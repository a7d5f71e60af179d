"""Heatmap experts: the experts of all landmarks as one network that sees the whole face at once."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.geometry.precision import products_in
from clnf_torch.geometry.similarity import invert_similarity
from clnf_torch.models import compiled
from clnf_torch.models.array_schema import Array
from clnf_torch.models.batch_invariant import order_filters
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import CropRequest, Experts, common_fields, type_name
from clnf_torch.models.patch_experts.heatmap_network import HeatmapNetwork
from clnf_torch.models.patch_experts.unet import UNet
from clnf_torch.models.schema import Context, Fields, Number, SchemaError, Several

# Shown to the network at once
CPU_FACES, CUDA_FACES = 16, 1024
# Sizes and channels of a network, the side of its image, and numbers in its largest maps, beyond those of any model
MOST_SIZES, MOST_CHANNELS, LARGEST_SIDE, MOST_NUMBERS = 8, 1024, 1024, 1 << 21


# Coarse experts twice, or two mesh networks, then fine experts; benchmarks/README.md says how the numbers were chosen
_PRESET: dict[str, Any] = {
    "window_sizes": (41, 21, 11),
    "sigma": (8.0, 3.0, 2.0),
    "regularisation": (0.3, 0.1, 0.03),
    "adapt": False,
    "any_size": True,
}
# Eyes: the pupil may lie anywhere in the eye, of which the face knows the lids alone
_EYE: dict[str, Any] = {
    "window_sizes": (21,),
    "sigma": 2.0,
    "regularisation": 0.05,
    "adapt": False,
    "any_size": True,
}


class HeatmapExperts(Experts):
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
        width: Side A of the area that the network looks at, pixels, of which Z are one of the reference frame.
        network: Scores (B, N, A / Z, A / Z) for gray areas (B, A, A); column u of its maps lies at pixel Z u.
    """

    name = "heatmap"
    # Z: the network looks at the face in this times the resolution of its maps
    zoom: ClassVar[int] = UNet.stride
    fit_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": _PRESET,
        "tracking": {**_PRESET, "window_sizes": (0, 21, 11)},
        "wild": {**_PRESET, "iterations": 10, "multi_view": True},
    }
    part_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"left_eye_28": _EYE, "right_eye_28": _EYE}
    # Trained on images of a quarter of the resolution of their maps, and below
    refine_above = 0.3
    min_expert_agreement = 0.55

    def __init__(
        self, scale: float, view_centers: Tensor, visible: Tensor, confidence: Tensor, width: int, network: nn.Module
    ) -> None:
        super().__init__(scale, view_centers, visible, confidence)
        self.width, self.network = width, network

    def to_record(self) -> dict[str, Any]:
        """The experts as a bundle holds them, the weights of their network in float16."""
        weights = {name: value.detach().half() for name, value in self.network.state_dict().items()}
        return {**super().to_record(), "width": self.width, **self.sizes(), "network": weights}

    def sizes(self) -> dict[str, Any]:
        """The fields of a record by which `untrained` makes the network."""
        assert isinstance(self.network, UNet)
        return {"widths": list(self.network.widths)}

    @classmethod
    def check_record(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """See `Experts.check_record`."""
        super().check_record(record, where, context)
        Fields({"width": Number(cls.zoom, LARGEST_SIDE, whole=True)}).check(record, where, context)
        cls.check_sizes(record, where, context)
        shapes = _weight_shapes(cls, context.sizes["N"], tuple(record.get("widths", ())))
        weights = Fields({name: Array(*shape) for name, shape in shapes.items()}, closed=True)
        Fields({"network": weights}).check(record, where, context)

    @classmethod
    def check_sizes(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """Refuses a record, `width` of which is a whole number, whose network could not be made or would be too large.

        Raises:
            SchemaError: It is one.
        """
        sizes = {"widths": Several(Number(1, MOST_CHANNELS, whole=True), 1, MOST_SIZES)}
        Fields(sizes).check(record, where, context)
        widths = record["widths"]
        cls.check_side(record["width"], len(widths), max(widths[0], context.sizes["N"]), where)

    @classmethod
    def check_side(cls, side: int, halvings: int, channels: int, where: str) -> None:
        """Refuses the side of an image that is not halved so often, or whose maps of so many channels are too large.

        Raises:
            SchemaError: It is one.
        """
        if side % 2**halvings or (side // cls.zoom) ** 2 * channels > MOST_NUMBERS:
            raise SchemaError(f"{where}.width: expected a side that {halvings} halvings divide, found {side}")

    @classmethod
    def untrained(cls, landmarks: int, widths: tuple[int, ...]) -> nn.Module:
        """The network that a record's weights belong to, on the current default device."""
        return UNet(landmarks, widths, normalised=False)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype) -> "HeatmapExperts":
        """The experts in a record."""
        fields = common_fields(record, dtype)
        with torch.device("meta"):
            network = cls.untrained(fields["visible"].shape[1], tuple(record.get("widths", ())))
        weights = {name: tensor.to(dtype) for name, tensor in record["network"].items()}
        network.load_state_dict(weights, assign=True)
        network.requires_grad_(False)
        return cls(**fields, width=int(record["width"]), network=order_filters(network.to(dtype)))

    @classmethod
    def describe(cls, record: Mapping[str, Any]) -> Iterator[str]:
        """Lines that say what a record holds."""
        yield f"{record['width']} x {record['width']} px"
        numbers = sum(weights.numel() for weights in record["network"].values())
        kind = type_name(next(iter(record["network"].values())))
        channels = f"{'-'.join(map(str, record['widths']))} channels, " if "widths" in record else ""
        yield f"one network for {len(record['visible'][0])} landmarks, {channels}{numbers:,} weights, {kind}"

    def crop_request(self, landmarks: Tensor, to_image: Tensor, window: int) -> CropRequest:
        """The whole face, whatever the window."""
        center = landmarks.mean(1, keepdim=True)
        return CropRequest(centers=center, to_image=to_image, width=self.width, zoom=self.zoom, smooth=True)

    def respond_around(
        self, landmarks: Tensor, request: CropRequest, crops: Tensor, view: Tensor, window: int, numerics: Numerics
    ) -> tuple[Tensor, Tensor]:
        """Parts of the heatmaps whose middles are the cells nearest to the landmarks; see `Experts.respond_around`."""
        middle, to_image = request.centers, request.to_image
        # The cell, not a whole one, at the middle of the crop
        origin = (self.width - 1) / (2 * self.zoom)
        from_middle = torch.bmm(landmarks - middle, invert_similarity(to_image).mT)
        nearest = (from_middle.detach() + origin).round().nan_to_num(0.0).clamp(0, self.width // self.zoom - 1)
        responses = self._windows(crops[:, 0], nearest.long(), window, numerics.precision)
        responses = responses * self.visible[view, :, None, None]
        return responses, middle + (nearest - origin) @ to_image.mT

    def maps(self, areas: Tensor, precision: str = "float32") -> Tensor:
        """Probability of each landmark in every cell, shape (B, N, A / Z, A / Z), of areas (B, A, A).

        The network's products are taken in that precision; see `products_in`.
        """
        if not len(areas):
            return areas.new_zeros(0, self.visible.shape[1], self.width // self.zoom, self.width // self.zoom)
        network = self._network_of_loops(areas, precision)
        if network is not None:
            found = areas.new_empty(len(areas), network.landmarks, self.width // self.zoom, self.width // self.zoom)
            network.fill_heatmaps(areas, found)
            return found
        some = CPU_FACES if areas.device.type == "cpu" else CUDA_FACES
        with products_in(precision, areas.device):
            blocks = [self.network(block) for block in areas.split(some)]
        scores = (torch.cat(blocks) if len(blocks) > 1 else blocks[0]).to(areas.dtype)
        return scores.flatten(2).softmax(-1).view(scores.shape)

    def _windows(self, areas: Tensor, middle: Tensor, window: int, precision: str) -> Tensor:
        """Square parts of `maps`, as of `cut_windows`; where loops make the maps, these are not kept."""
        network = self._network_of_loops(areas, precision)
        if network is None or not len(areas):
            return cut_windows(self.maps(areas, precision), middle, window)
        parts = areas.new_empty(*middle.shape[:2], window, window)
        network.fill_windows(areas, middle, parts)
        return parts

    def _network_of_loops(self, areas: Tensor, precision: str) -> HeatmapNetwork | None:
        """The network, where loops can be its maps of areas (B, A, A); they do not round to bfloat16."""
        network = self.network
        if precision == "bf16" or not isinstance(network, HeatmapNetwork):
            return None
        return network if network.has_loops_for(areas) else None


@lru_cache
def _weight_shapes(family: type[HeatmapExperts], landmarks: int, widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of a network's weights by their names; a bundle's experts are checked twice, and most are alike."""
    with torch.device("meta"):
        network = family.untrained(landmarks, widths)
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def cut_windows(maps: Tensor, middle: Tensor, window: int) -> Tensor:
    """Square parts of maps.

    Args:
        maps: Shape (B, N, H, H).
        middle: The cell (x, y) in the middle of each part, int64, shape (B, N, 2), inside the map.
        window: Side R of the parts, odd.

    Returns:
        Shape (B, N, R, R); 0 outside the maps.
    """
    if compiled.usable(maps, ()):
        parts = maps.new_empty(*maps.shape[:2], window, window)
        compiled.kernels().cut_windows(maps, middle, parts)
        return parts
    # A border of one cell stands for all cells outside
    height, width = maps.shape[-2:]
    padded = pad(maps, (1, 1, 1, 1))
    steps = torch.arange(window, device=maps.device) - window // 2 + 1
    column = (middle[..., :1] + steps).clamp_(0, width + 1)
    row = (middle[..., 1:] + steps).clamp_(0, height + 1)
    cells = row[..., None] * (width + 2) + column[..., None, :]
    return padded.flatten(2).gather(2, cells.flatten(2)).view(*maps.shape[:2], window, window)
