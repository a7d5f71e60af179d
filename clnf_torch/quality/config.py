"""The thresholds beyond which landmarks count as wrong."""

from dataclasses import dataclass, fields

from clnf_torch.geometry.records import loadable
from clnf_torch.geometry.settings import check_settings
from clnf_torch.models.patch_experts.base import Experts


@loadable
@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """Thresholds of the quality checks; beyond one of them a face's landmarks are poor.

    Millimetres are those of the shape model, in which a face is 140 wide. Where an attribute speaks of annotated faces,
    99.5 % of the 1,675 training faces of HELEN and LFPW are below the number, with our own shape model and with
    OpenFace's. ``python -m benchmarks repair`` counts the faces of these and of other sets beyond the thresholds.

    Attributes:
        mean_residual: Mean distance of the landmarks from the robustly fitted shape, mm; annotated faces 2.2 and 2.3.
        mahalanobis: Squared Mahalanobis distance of the shape coefficients, divided by their number; annotated faces
            1.0 and 1.5.
        outlier_distance: Distance from the fitted shape beyond which a landmark is an outlier, mm; 99.9 % of annotated
            landmarks are nearer.
        outlier_ratio: Share of the landmarks that are outliers: 5 of 68; annotated faces have 1.
        tilt: Angle of the head out of the image plane, radians: a little more than a profile.
        crossing: Depth to which eyelids or lips may be in the wrong order, mm; annotated faces 0.7.
        jaw_folding: Length by which the jaw line may run backwards, mm; 0.2 % of annotated faces do so at all.
        jaw_length: Absolute logarithm of the ratio of the jaw line's length to the fitted shape's; annotated faces
            0.03.
        jaw_width: Likewise, of the distance from ear to ear; annotated faces 0.05.
        chin_distance: Likewise, of the distance from mouth to chin; annotated faces 0.2.
        outside_image: Share of the landmarks outside the image: faces may be cut off, but less.
        outside_box: Share of the landmarks outside a box half again as large as the given one.
        box_scale_ratio: Ratio of the larger to the smaller of the landmarks' extent and the given box, both as square
            roots of areas.
        jump: Mean displacement of the landmarks between adjacent frames, mm; OpenFace's sample clips stay below 5.
        min_expert_agreement: Least mean of `expert_agreement`; None: 0.55 for heatmap experts, 0.40 for patch experts.
        min_confidence: Least confidence of the other method, mean over the landmarks where it gives one for each.

    Raises:
        ValueError: A threshold is one that nothing could keep, or that nothing exceeds.
    """

    mean_residual: float = 3.5
    mahalanobis: float = 2.2
    outlier_distance: float = 10.0
    outlier_ratio: float = 0.066
    tilt: float = 1.75
    crossing: float = 3.0
    jaw_folding: float = 4.0
    jaw_length: float = 0.12
    jaw_width: float = 0.15
    chin_distance: float = 0.45
    outside_image: float = 0.25
    outside_box: float = 0.10
    box_scale_ratio: float = 2.0
    jump: float = 25.0
    min_expert_agreement: float | None = None
    min_confidence: float = 0.5

    def __post_init__(self) -> None:
        """Refuses thresholds that nothing could keep or exceed."""
        check_settings(self, infinite=True)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise ValueError(f"{field.name} is {value}; thresholds are greater than 0")
        for name in ("min_expert_agreement", "min_confidence"):
            value = getattr(self, name)
            if value is not None and value >= 1:
                raise ValueError(f"{name} is {value}; expected less than 1, which nothing exceeds")

    def min_agreement_of(self, family: type[Experts]) -> float:
        """The least mean agreement with the experts of a family."""
        return family.min_expert_agreement if self.min_expert_agreement is None else self.min_expert_agreement
