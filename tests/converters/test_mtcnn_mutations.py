"""Damaged MTCNN files, 300 networks and 100 descriptions: converted or refused in one line, in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clnf_torch.converters import ConversionError
from clnf_torch.converters.openface.mtcnn import convert_mtcnn
from clnf_torch.detection.mtcnn import MTCNN
from tests.converters.mtcnn_files import NETWORKS, write_mtcnn
from tests.converters.test_mutations import BINARY_EDITS, TEXT_EDITS, changed, check, mutations


@pytest.fixture(scope="module")
def description(tmp_path_factory) -> Path:
    return write_mtcnn(tmp_path_factory.mktemp("mutations"))


def checked(record: dict[str, Any]) -> None:
    """Whatever was converted is finite, and builds."""
    layers = [layer for name in ("pnet", "rnet", "onet") for layer in record[name]["layers"]]
    tensors = [value for layer in layers for value in layer.values() if isinstance(value, Tensor)]
    assert all(tensor.isfinite().all() for tensor in tensors)
    MTCNN.from_record(record)


@mutations(300)
@given(name=st.sampled_from(NETWORKS), edits=BINARY_EDITS)
def test_networks(description, name, edits):
    network = description.parent / f"{name}.dat"
    intact = network.read_bytes()
    try:
        check(network, changed(intact, edits), lambda _: checked(convert_mtcnn(description)))
    finally:
        network.write_bytes(intact)


@mutations(100)
@given(edits=TEXT_EDITS)
def test_descriptions(description, edits):
    intact = description.read_bytes()
    try:
        check_anywhere(description, changed(intact, edits))
    finally:
        description.write_bytes(intact)


def check_anywhere(description: Path, content: bytes) -> None:
    """As `check`; the complaint may name any file that the description names."""
    description.write_bytes(content)
    try:
        checked(convert_mtcnn(description))
    except ConversionError as error:
        assert str(error).startswith(str(description.parent)) and "\n" not in str(error)
