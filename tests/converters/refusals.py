"""How every converter refuses a file: one line of one form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clnf_torch.converters import ConversionError


def refusal(path: Path, convert: Callable[[], object]) -> ConversionError:
    """The error that converting a file gives, checked for its form."""
    with pytest.raises(ConversionError) as caught:
        convert()
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text
    assert "expected " in text and ", found " in text and "; " in text
    return caught.value
