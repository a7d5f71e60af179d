"""What every family of experts promises: views to choose from, and response maps around landmarks."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.precision import products_in
from clnf_torch.models.array_schema import TRUTH, Array
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.view_tiles import ViewTiles
from clnf_torch.models.schema import Context, Fields, Number, Schema

# Far beyond those of any model: pixels per millimetre, views, and the side of a patch in pixels
SCALES, MOST_VIEWS, SUPPORTS = Number(1e-3, 100.0), 64, Number(1, 64, whole=True)


@dataclass(frozen=True, kw_only=True)
class CropRequest:
    """What experts want to see of the images of B faces: K square crops of each.

    Attributes:
        centers: Middles of the crops, pixels, shape (B, K, 2).
        to_image: The map from the reference frame to the image, shape (B, 2, 2).
        width: Side A of the crops, pixels.
        zoom: Pixels of a crop along a reference pixel.
        smooth: Average the image's pixels where those of a crop lie two or more of them apart (no aliasing), and read
            them exactly where they lie, whatever the numerics.
    """

    centers: Tensor
    to_image: Tensor
    width: int
    zoom: int = 1
    smooth: bool = False


class Experts(nn.Module, ABC):
    """The experts of all landmarks in all views at one scale; each family of them is a class.

    What depends on the family is said here, in plain numbers, and nowhere else: how it is named and stored, and how it
    is fitted and judged.

    Args:
        scale: Size of the reference frame that the experts look at, pixels per millimetre.
        view_centers: Head rotation at the middle of each view, Euler angles in radians, shape (V, 3).
        visible: Landmarks that can be seen in each view, bool, shape (V, N).
        confidence: How far each expert is to be trusted, shape (V, N).
    """

    # In bundles, and what a model of such experts is called
    name: ClassVar[str]
    # What OpenFace's sigma and regularisation are multiplied by for this family
    sigma_factor: ClassVar[float] = 1.0
    regularisation_factor: ClassVar[float] = 1.0
    # Fields of `FitConfig` by the name of the preset, in the place of OpenFace's presets
    fit_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # Fields of `FitConfig` by the name of the part, in the place of OpenFace's settings of parts
    part_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # A part is refined on faces larger than this times the scale of its first patch experts; OpenFace's number
    refine_above: ClassVar[float] = 0.9
    # Mean `expert_agreement` below which landmarks are poor
    min_expert_agreement: ClassVar[float] = 0.40
    # What its records must be; a family adds its own fields
    schema: ClassVar[Mapping[str, Schema]] = {
        "scale": SCALES,
        "view_centers": Array("V", 3, low=-10, high=10, longest=MOST_VIEWS),
        "visible": Array("V", "N", dtypes=TRUTH, low=0, high=1),
        "confidence": Array("V", "N", low=0),
    }

    def __init__(self, scale: float, view_centers: Tensor, visible: Tensor, confidence: Tensor) -> None:
        super().__init__()
        self.scale = scale
        self.view_centers: Tensor
        self.visible: Tensor
        self.confidence: Tensor
        self.register_buffer("view_centers", view_centers)
        self.register_buffer("visible", visible)
        self.register_buffer("confidence", confidence)

    def to_record(self) -> dict[str, Any]:
        """The experts as a bundle holds them; a family adds its own fields. ``converters/README.md`` lists them."""
        return {
            "family": self.name,
            "scale": self.scale,
            "view_centers": self.view_centers.double(),
            "visible": self.visible,
            "confidence": self.confidence.double(),
        }

    @classmethod
    def check_record(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """Refuses what is no record of `to_record`; a family adds how its fields must fit together.

        Args:
            record: The record.
            where: How it is reached, for messages.
            context: The number N of landmarks is known.

        Raises:
            SchemaError: Something in it is not what it should be.
        """
        Fields(cls.schema).check(record, where, context)

    @classmethod
    @abstractmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype) -> "Experts":
        """The experts in a record of `to_record`.

        Args:
            record: The record.
            dtype: Number type of the arithmetic; large weights may keep the one they are stored in.
        """

    @classmethod
    @abstractmethod
    def describe(cls, record: Mapping[str, Any]) -> Iterator[str]:
        """Lines that say what a record holds: how much of the face the experts look at, then what they are made of."""

    @property
    def num_views(self) -> int:
        """V."""
        return self.view_centers.shape[0]

    def nearest_view(self, rotation: Tensor) -> Tensor:
        """The view whose centre is closest to head rotations (B, 3), the first one on a tie; int64, shape (B,).

        Source:
            OpenFace ``Patch_experts::GetViewIdx``.
        """
        distance = (rotation.detach()[:, None] - self.view_centers).square().sum(-1)
        return distance.argmin(-1)

    @abstractmethod
    def crop_request(self, landmarks: Tensor, to_image: Tensor, window: int) -> CropRequest:
        """What the experts want to see around landmarks.

        Args:
            landmarks: Where they are thought to be, pixels, shape (B, N, 2).
            to_image: The map from the reference frame to the image, shape (B, 2, 2).
            window: Side R of the response maps, reference pixels, odd.
        """

    @abstractmethod
    def respond_around(
        self, landmarks: Tensor, request: CropRequest, crops: Tensor, view: Tensor, window: int, numerics: Numerics
    ) -> tuple[Tensor, Tensor]:
        """Response maps around landmarks.

        Args:
            landmarks: As for `crop_request`.
            request: What `crop_request` asked for.
            crops: What is seen there, gray levels 0 to 255, shape (B, K, A, A).
            view: View of each face, int64, shape (B,).
            window: As for `crop_request`.
            numerics: OpenFace's approximations or the exact forms.

        Returns:
            Responses, non-negative, zero where a landmark is not visible, shape (B, N, R, R), rows along y; and where
            the maps' middles lie in the image, pixels, shape (B, N, 2).
        """


class PatchExperts(Experts):
    """Experts of which each looks at small patches around its own landmark, and sees nothing else.

    Args:
        scale: Size of the reference frame that the experts look at, pixels per millimetre.
        support: Side S of the patch that an expert looks at, reference pixels.
        view_centers: Head rotation at the middle of each view, Euler angles in radians, shape (V, 3).
        visible: Landmarks that can be seen in each view, bool, shape (V, N).
        confidence: How far each expert is to be trusted, shape (V, N).
    """

    schema: ClassVar[Mapping[str, Schema]] = {**Experts.schema, "support": SUPPORTS}

    def __init__(self, scale: float, support: int, view_centers: Tensor, visible: Tensor, confidence: Tensor) -> None:
        super().__init__(scale, view_centers, visible, confidence)
        self.support = support

    def to_record(self) -> dict[str, Any]:
        """The experts as a bundle holds them."""
        family, scale, *others = super().to_record().items()
        return dict((family, scale, ("support", self.support), *others))

    @classmethod
    def describe(cls, record: Mapping[str, Any]) -> Iterator[str]:
        """A line that says at how much of the face the experts look."""
        yield f"{record['support']} x {record['support']} px"

    def crop_request(self, landmarks: Tensor, to_image: Tensor, window: int) -> CropRequest:
        """Areas of interest: windows around the landmarks, and as much more as a patch needs."""
        return CropRequest(centers=landmarks, to_image=to_image, width=window + self.support - 1)

    def respond_around(
        self, landmarks: Tensor, request: CropRequest, crops: Tensor, view: Tensor, window: int, numerics: Numerics
    ) -> tuple[Tensor, Tensor]:
        """Response maps with the landmarks in their middles; see `Experts.respond_around`."""
        with products_in(numerics.precision, crops.device):
            responses = self(crops, view, numerics)
        return responses.to(crops.dtype), landmarks

    def forward(self, areas: Tensor, view: Tensor, numerics: Numerics) -> Tensor:
        """Response maps of the experts of each face's view.

        Args:
            areas: Areas of interest around the landmarks, gray levels 0 to 255, shape (B, N, A, A).
            view: View of each face, int64, shape (B,).
            numerics: OpenFace's approximations or the exact forms.

        Returns:
            Responses, non-negative, not normalised, zero where a landmark is not visible, shape (B, N, R, R) with
            R = A - S + 1, rows along y.

        Raises:
            ValueError: The areas are smaller than the experts' support, or R is even.
        """
        window = areas.shape[-1] - self.support + 1
        if window < 1 or window % 2 == 0:
            raise ValueError(
                f"areas are {areas.shape[-1]} px wide and the experts look at {self.support}, which leaves windows of "
                f"{window}; cut areas of window + support - 1 with an odd window"
            )
        if self.num_views == 1:
            return self.respond(areas, 0, numerics)
        if not is_readable(view):
            tiles = ViewTiles.of(view, self.num_views)
            return tiles.take(self.respond_in_tiles(tiles.lay(areas), tiles.view, numerics))
        views = view.tolist()
        if len(set(views)) == 1:
            return self.respond(areas, views[0], numerics)
        present = sorted(Counter(views).items())
        order = view.argsort(stable=True)
        groups = areas[order].split([count for _, count in present])
        responses = [self.respond(group, v, numerics) for group, (v, _) in zip(groups, present, strict=True)]
        return (
            torch.cat(responses)[order.argsort()] if responses else areas.new_zeros(0, areas.shape[1], window, window)
        )

    @abstractmethod
    def respond(self, areas: Tensor, view: int, numerics: Numerics) -> Tensor:
        """Responses (B, N, R, R) of one view's experts to areas (B, N, A, A) of faces that are all in that view."""

    def respond_in_tiles(self, areas: Tensor, views: Tensor, numerics: Numerics) -> Tensor:
        """Responses (T, F, N, R, R) to areas (T, F, N, A, A) of tiles of faces, each tile of one view (T,).

        Here every view answers for every tile. A family that can gather its experts by their numbers does with less.
        """
        window = areas.shape[-1] - self.support + 1
        responses = areas.new_zeros(*areas.shape[:3], window, window)
        for view in range(self.num_views):
            answer = self.respond(areas.flatten(0, 1), view, numerics).view_as(responses)
            responses = torch.where((views == view)[:, None, None, None, None], answer, responses)
        return responses


def common_fields(record: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The arguments of `Experts` in a record, and of `PatchExperts` where it has a support."""
    fields = {
        "scale": float(record["scale"]),
        "view_centers": record["view_centers"].to(dtype),
        "visible": record["visible"],
        "confidence": record["confidence"].to(dtype),
    }
    return fields | ({"support": int(record["support"])} if "support" in record else {})


def type_name(weights: Tensor) -> str:
    """The number type of weights, in words."""
    return str(weights.dtype).removeprefix("torch.")
