"""The choice between following OpenFace to the letter and the exact, differentiable forms of the same mathematics."""

from dataclasses import dataclass

from clnf_torch.geometry.precision import check_precision
from clnf_torch.geometry.records import loadable


@loadable
@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Where OpenFace's approximations stand in for the exact forms; the code path is the same for both."""

    name: str
    sample_on_32nds: bool  # areas are read on cv::warpAffine's 1/32-pixel lattice; otherwise exactly where they lie
    checkerboard: bool  # CEN experts look at every second cell and fill in the rest; otherwise at all
    kernel_step: (
        float | None
    )  # mean-shift kernels are centred on multiples of this, in response cells; None: where the landmark is
    quirks: bool  # early termination forgets shapes and reports the wrong candidate's success, as OpenFace does
    precision: str = "float32"  # of products in the experts: one of `geometry.precision.PRECISIONS`

    def __post_init__(self) -> None:
        """Refuse a precision that there is not."""
        check_precision(self.precision)


OPENFACE = Numerics(name="openface", sample_on_32nds=True, checkerboard=True, kernel_step=0.1, quirks=True)
EXACT = Numerics(name="exact", sample_on_32nds=False, checkerboard=False, kernel_step=None, quirks=False)


def numerics_named(name: str | Numerics) -> Numerics:
    """The numerics of that name, "openface" or "exact"; a `Numerics` of one's own passes through.

    Raises:
        ValueError: There are none of that name.
    """
    if isinstance(name, Numerics):
        return name
    known = {numerics.name: numerics for numerics in (OPENFACE, EXACT)}
    if name not in known:
        raise ValueError(f"numerics {name!r} is not known; choose one of {', '.join(map(repr, known))}")
    return known[name]
