"""Damaged CCNF and SVR files, 300 of each: each converts or is refused in one line, soon, and in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from torch import Tensor

from clnf_torch.converters.openface.ccnf import convert_ccnf, read_ccnf
from clnf_torch.converters.openface.svr import convert_svr, read_svr
from tests.converters.openface_files import POINTS
from tests.converters.template_files import ccnf_pieces, svr_lines, text
from tests.converters.test_mutations import BINARY_EDITS, TEXT_EDITS, changed, check, mutations

CCNF, SVR = b"".join(ccnf_pieces().values()), text(svr_lines())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mutations")


def largest(records: list[dict[str, Any]]) -> int:
    """Bytes of the largest tensor, which tracemalloc does not see; whatever is in a bundle is finite."""
    tensors = [value for record in records for value in record.values() if isinstance(value, Tensor)]
    assert all(tensor.isfinite().all() for tensor in tensors)
    return max(tensor.nbytes for tensor in tensors)


@mutations(300)
@given(edits=BINARY_EDITS)
def test_ccnf_files(folder, edits):
    check(
        folder / "ccnf.txt",
        changed(CCNF, edits),
        lambda path: largest(convert_ccnf([read_ccnf(path, POINTS)], half=False)),
    )


@mutations(300)
@given(edits=TEXT_EDITS)
def test_svr_files(folder, edits):
    check(
        folder / "svr.txt",
        changed(SVR, edits),
        lambda path: largest(convert_svr([read_svr(path, POINTS)], half=False)),
    )
