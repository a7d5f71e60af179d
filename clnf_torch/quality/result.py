"""The verdict on landmarks, and the landmarks after repair."""

from dataclasses import dataclass

from torch import Tensor

from clnf_torch.geometry.records import Rows, loadable
from clnf_torch.quality.checks import REASONS
from clnf_torch.quality.robust_fit import RobustFit


@dataclass(frozen=True, kw_only=True)
class LandmarkQuality(Rows):
    """How good landmarks are, one row per face.

    Attributes:
        violation: What each check measured relative to its threshold, shape (B, R) in the order of `REASONS`: 1 at the
            threshold, more beyond it, 0 where nothing was measured.
        outliers: Landmarks far from the shape that most of the others agree on, bool, shape (B, N).
        expert_agreement: What the landmarks' patch experts say, from 0 to 1, shape (B, N); NaN without frames.
        shape: The shape fitted robustly to the landmarks.
    """

    violation: Tensor
    outliers: Tensor
    expert_agreement: Tensor
    shape: RobustFit

    @property
    def poor(self) -> Tensor:
        """Faces that fail a check, bool, shape (B,)."""
        return (self.violation > 1).any(-1)

    @property
    def score(self) -> Tensor:
        """From 0 to 1, shape (B,); below a half where poor."""
        return 1 / (1 + self.violation.amax(-1))

    @property
    def reasons(self) -> dict[str, Tensor]:
        """Faces that fail each check, by its reason, bool, shape (B,)."""
        return dict(zip(REASONS, (self.violation > 1).unbind(-1), strict=True))


@loadable
@dataclass(frozen=True, kw_only=True)
class RepairStatistics:
    """How many faces were poor, and how many still are. Those of several calls add up.

    Attributes:
        faces: Number of faces.
        refitted: Faces that got other landmarks.
        poor_before: Poor faces before the repair.
        poor_after: Poor faces after it, which are those that no good fit was found for.
        before: Poor faces by reason, in the order of `REASONS`; a face may have several.
        after: Likewise, after the repair.
    """

    faces: int = 0
    refitted: int = 0
    poor_before: int = 0
    poor_after: int = 0
    before: tuple[int, ...] = (0,) * len(REASONS)
    after: tuple[int, ...] = (0,) * len(REASONS)

    def __add__(self, other: "RepairStatistics") -> "RepairStatistics":
        """Both together."""
        return RepairStatistics(
            faces=self.faces + other.faces,
            refitted=self.refitted + other.refitted,
            poor_before=self.poor_before + other.poor_before,
            poor_after=self.poor_after + other.poor_after,
            before=tuple(map(sum, zip(self.before, other.before, strict=True))),
            after=tuple(map(sum, zip(self.after, other.after, strict=True))),
        )

    def __str__(self) -> str:
        """A few lines to print."""
        faces = max(1, self.faces)
        lines = [
            f"{self.faces} faces, {self.refitted} fitted again"
            + f", {self.poor_after} poor ones without a better fit" * (self.poor_after > 0),
            f"poor before {self.poor_before / faces:7.1%}   after {self.poor_after / faces:7.1%}",
        ]
        for reason, before, after in zip(REASONS, self.before, self.after, strict=True):
            if before or after:
                lines.append(f"  {reason:14} {before / faces:7.1%}         {after / faces:7.1%}")
        return "\n".join(lines)


@loadable
@dataclass(frozen=True, kw_only=True)
class RepairedLandmarks:
    """Landmarks of which the poor ones were fitted again, one row per face.

    Attributes:
        landmarks: Pixels (x, y), shape (B, N, 2), in the number type and on the device they were given in; where those
            were whole numbers, in the detector's type.
        refitted: Faces that were fitted again, bool, shape (B,); the other rows are, to the last bit, what was given.
        inliers: Landmarks that are what was given, bool, shape (B, N); all of them in the rows not fitted again.
        before: Quality of the given landmarks.
        after: Quality of the repaired ones; where fitted again, without adjacent frames and the other method's
            confidence. No face that was fitted again is poor.
    """

    landmarks: Tensor
    refitted: Tensor
    inliers: Tensor
    before: LandmarkQuality
    after: LandmarkQuality

    @property
    def unrepaired(self) -> Tensor:
        """Poor faces that no good fit was found for, bool, shape (B,); they are what was given."""
        return self.before.poor & ~self.refitted

    @property
    def statistics(self) -> RepairStatistics:
        """The rows counted."""
        return RepairStatistics(
            faces=len(self.refitted),
            refitted=int(self.refitted.sum()),
            poor_before=int(self.before.poor.sum()),
            poor_after=int(self.after.poor.sum()),
            before=tuple((self.before.violation > 1).sum(0).tolist()),
            after=tuple((self.after.violation > 1).sum(0).tolist()),
        )
