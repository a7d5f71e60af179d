"""What is said about landmarks, and what came of those that were poor."""

from dataclasses import dataclass

from torch import Tensor

from clnf_torch.quality.robust_fit import RobustFit

REASONS = (
    # A landmark is no number, or absurdly far away
    "not finite",
    # No face has such a shape
    "implausible",
    # Lids inside out, eye corners exchanged, or eyes exchanged
    "eyes crossed",
    # Lips inside out, or corners exchanged
    "mouth crossed",
    # Folded, or far shorter, longer or narrower than the rest of the face says
    "jaw collapsed",
    # Of the image, or of the given box
    "outside",
    # Away from where it is in the neighbouring frames
    "jumped",
    # The experts see the landmarks elsewhere
    "unlikely",
    # Says the other method itself
    "unsure",
)


@dataclass(frozen=True, kw_only=True)
class LandmarkQuality:
    """How good landmarks are, one row per face."""

    strain: Tensor  # (B, R) by reason, in the order of `REASONS`: 1 at the bound, more beyond it; 0 where not measured
    doubtful: Tensor  # (B, N) bool: landmarks that do not fit in with the others
    support: Tensor  # (B, N) from 0 to 1, what the landmarks' experts say; see `expert_support`; NaN without frames
    shape: RobustFit  # the face that most of the landmarks agree on

    def __len__(self) -> int:
        """Number of faces B."""
        return len(self.strain)

    def __getitem__(self, rows: Tensor | slice) -> "LandmarkQuality":
        """The faces of these rows."""
        return LandmarkQuality(
            strain=self.strain[rows],
            doubtful=self.doubtful[rows],
            support=self.support[rows],
            shape=self.shape[rows],
        )

    @property
    def poor(self) -> Tensor:
        """Faces with a reason to doubt them, bool, shape (B,)."""
        return (self.strain > 1).any(-1)

    @property
    def score(self) -> Tensor:
        """From 0 to 1, shape (B,); below a half where poor."""
        return 1 / (1 + self.strain.amax(-1))

    @property
    def reasons(self) -> dict[str, Tensor]:
        """Faces that are poor for each reason, bool, shape (B,)."""
        return dict(zip(REASONS, (self.strain > 1).unbind(-1), strict=True))

    def replaced(self, rows: Tensor, other: "LandmarkQuality") -> "LandmarkQuality":
        """The same with other faces in some rows (K,), the K faces of `other`."""
        return LandmarkQuality(
            strain=self.strain.index_copy(0, rows, other.strain),
            doubtful=self.doubtful.index_copy(0, rows, other.doubtful),
            support=self.support.index_copy(0, rows, other.support),
            shape=self.shape.replaced(rows, other.shape),
        )


@dataclass(frozen=True, kw_only=True)
class RepairStatistics:
    """How many faces were poor, and how many still are. Those of several calls add up."""

    faces: int = 0
    refitted: int = 0  # faces that got other landmarks
    poor_before: int = 0
    poor_after: int = 0
    before: tuple[int, ...] = (0,) * len(REASONS)  # poor faces by reason; a face may have several
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
            f"{self.faces} faces, {self.refitted} fitted again",
            f"poor before {self.poor_before / faces:7.1%}   after {self.poor_after / faces:7.1%}",
        ]
        for reason, before, after in zip(REASONS, self.before, self.after, strict=True):
            if before or after:
                lines.append(f"  {reason:14} {before / faces:7.1%}         {after / faces:7.1%}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class RepairedLandmarks:
    """Landmarks of which the poor ones were fitted again, one row per face."""

    landmarks: Tensor  # (B, N, 2) pixels, in the number type and on the device they were given in
    refitted: Tensor  # (B,) bool; the other rows are, to the last bit, what was given
    kept: Tensor  # (B, N) bool: so are these landmarks; all of them in the other rows
    before: LandmarkQuality
    after: LandmarkQuality  # of fitted landmarks without comparing frames and without the other method's confidence

    @property
    def statistics(self) -> RepairStatistics:
        """The rows counted."""
        return RepairStatistics(
            faces=len(self.refitted),
            refitted=int(self.refitted.sum()),
            poor_before=int(self.before.poor.sum()),
            poor_after=int(self.after.poor.sum()),
            before=tuple((self.before.strain > 1).sum(0).tolist()),
            after=tuple((self.after.strain > 1).sum(0).tolist()),
        )
