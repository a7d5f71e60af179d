"""From where on landmarks count as wrong."""

from dataclasses import dataclass, fields

# See `QualityConfig.least_support`
SUPPORT_OF_JOINT, SUPPORT = 0.55, 0.40


@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """Bounds; beyond them landmarks are called poor. Millimetres are those of the shape model.

    Where a comment speaks of annotated faces, 99.5 % of the 1,675 training faces of HELEN and LFPW are below the
    number, with our own shape model and with OpenFace's. ``python -m benchmarks refine`` says how many faces of these
    and of other sets are beyond the bounds.
    """

    residual: float = 3.5  # mm, mean distance from the fitted shape; annotated faces 2.2, 2.3
    unlikeness: float = 2.2  # mean square of the shape coefficients in variances of theirs; annotated faces 1.0, 1.5
    off: float = 10.0  # mm, from the fitted shape: the landmark is doubtful; 99.9 % of annotated landmarks are nearer
    share_off: float = 0.066  # of the landmarks that are off: 5 of 68; annotated faces 1
    tilt: float = 1.75  # radians, out of the image's plane: a little more than a profile
    order: float = 3.0  # mm, by which lids or lips may be in the wrong order; annotated faces 0.7
    jaw_order: float = 4.0  # mm, by which the jaw may run backwards; annotated faces never do, but for 0.2 % of them
    jaw_length: float = 0.12  # logarithm of the ratio to the fitted shape's; annotated faces 0.03
    jaw_width: float = 0.15  # likewise; annotated faces 0.05
    chin: float = 0.45  # likewise, of the way from mouth to chin; annotated faces 0.2
    beyond_image: float = 0.25  # share of the landmarks outside the image: faces may be cut off, but less
    beyond_box: float = 0.10  # share of the landmarks outside a box half again as large as the given one
    box_ratio: float = 2.0  # of the larger and the smaller of the extent and the given box, square roots of areas
    jump: float = 25.0  # mm from one frame to the next, mean over the landmarks; OpenFace's sample clips stay below 5
    least_support: float | None = None  # mean `expert_support`; None: 0.55 for heatmap experts, 0.40 for patch experts
    least_confidence: float = 0.5  # of the other method, mean over the landmarks where it gives one for each

    def __post_init__(self) -> None:
        """Refuse bounds that nothing could keep."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise ValueError(f"{field.name} is {value}; bounds are greater than 0")
        for name in ("least_support", "least_confidence"):
            value = getattr(self, name)
            if value is not None and value >= 1:
                raise ValueError(f"{name} is {value}; expected less than 1, which nothing exceeds")

    def support_of(self, family: str) -> float:
        """The least support by the experts of a family."""
        if self.least_support is not None:
            return self.least_support
        return SUPPORT_OF_JOINT if family == "joint" else SUPPORT
