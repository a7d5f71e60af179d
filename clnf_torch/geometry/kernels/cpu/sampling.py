"""Numbers between others, and whole ones, as loops round them like `clnf_torch.geometry.sampling`."""

import math
from typing import Any

from clnf_torch.compilation.compiler import compiled_exactly, f32

# As `sampling` keeps whole numbers inside the range of int32
LIMIT = 2.0**29


@compiled_exactly
def whole(value: float) -> float:
    """A whole number kept well inside the range of int32; 0 for NaN."""
    return 0.0 if math.isnan(value) else min(max(float(value), -LIMIT), LIMIT)


@compiled_exactly
def lerp(start: Any, end: Any, share: Any) -> Any:
    """``torch.lerp``."""
    return start + share * (end - start) if share < f32(0.5) else end - (end - start) * (f32(1) - share)
