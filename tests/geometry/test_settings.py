"""`clnf_torch.geometry.settings`: every field of every settings record refuses what it is not for."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from clnf_torch import FitConfig, QualityConfig, VideoConfig
from clnf_torch.detection.mtcnn import MTCNNConfig

RECORDS = [FitConfig, VideoConfig, QualityConfig, MTCNNConfig]
FIELDS = [(record, field.name) for record in RECORDS for field in fields(record)]


@pytest.mark.parametrize(("record", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("value", [math.nan, -math.inf, [], {}, object(), (math.nan,), ("1",)])
def test_no_field_takes_anything(record, name, value):
    with pytest.raises(ValueError, match=f"^{name} is ") as refused:
        record(**{name: value})
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("record", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_flags_are_no_numbers_and_numbers_no_flags(record, name):
    default = getattr(record(), name)
    other = 1 if isinstance(default, bool) else True
    with pytest.raises(ValueError, match=f"^{name} is .*; expected"):
        record(**{name: other})


def test_only_thresholds_may_be_infinite():
    assert QualityConfig(jump=math.inf).jump == math.inf
    for record, name in ((FitConfig, "sigma"), (FitConfig, "regularisation"), (MTCNNConfig, "min_face")):
        with pytest.raises(ValueError, match=f"^{name} is 'inf'; expected"):
            record(**{name: math.inf})


def test_whole_numbers_are_numbers():
    assert FitConfig(sigma=2, regularisation=(1, 2.5)).regularisation == (1, 2.5)
