"""`clnf_torch.models.depth_shape`: a second shape in a bundle."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.models.depth_shape import LEAST_ANCHORS, DepthShape
from clnf_torch.models.schema import Context, SchemaError
from tests.measures.heads import FACE, make_pdm


def make_depth_shape() -> DepthShape:
    return DepthShape(FACE, torch.arange(17, 60))


def test_the_record_makes_the_same_shape():
    shape = make_depth_shape()
    record = shape.to_record()
    context = Context({"N": 68, "M": 55})
    DepthShape.check_record(record, "depth_shape", context)
    assert context.sizes == {"N": 68, "M": 55}  # of the fit's own PDM, which may have more modes
    again = DepthShape.from_record(record, torch.float32)
    assert torch.equal(again.pdm.modes, shape.pdm.modes.float()) and torch.equal(again.anchors, shape.anchors)
    assert again.known.nonzero()[:, 0].equal(shape.anchors)


@pytest.mark.parametrize("anchors", [torch.arange(LEAST_ANCHORS - 1), torch.tensor([1, 2, 3, 4, 68]), [0, 1, 2, -1]])
def test_anchors_are_some_landmarks(anchors):
    with pytest.raises(ValueError, match=r"anchors are .*; expected at least 4 landmarks from 0 to 67"):
        DepthShape(FACE, torch.as_tensor(anchors))
    record = make_depth_shape().to_record() | {"anchors": torch.as_tensor(anchors)}
    with pytest.raises(SchemaError, match=r"depth_shape\.anchors"):
        DepthShape.check_record(record, "depth_shape", Context({"N": 68}))


def test_a_shape_of_other_landmarks_is_refused():
    record = DepthShape(make_pdm(28, 24.0, 2), torch.arange(9)).to_record()
    with pytest.raises(SchemaError, match=r"depth_shape\.pdm\.mean"):
        DepthShape.check_record(record, "depth_shape", Context({"N": 68}))
