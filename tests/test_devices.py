"""Where the fit happens: everything on one device, and how often the host asks it something; shown without a GPU."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from clnf_torch.pipeline import LandmarkDetector
from tests.factories import CONFIG, N, make_boxes, make_images, make_model, make_rules
from tests.models.patch_experts.heatmap_factories import make_heatmap_model
from tests.transfers import OneDevice, count_transfers


def count_reads(run) -> Counter[str]:
    """What the host reads during a call."""
    return count_transfers(run).to_host


def test_reads_are_counted():
    values = torch.arange(3.0)
    assert count_reads(lambda: values[0].item()) == {"_local_scalar_dense": 1}
    assert count_reads(lambda: bool(values.any())).total() >= 1
    assert count_reads(lambda: values[values > 1]).total() >= 1
    assert count_reads(lambda: values.tolist()) == {"tolist": 1}
    assert count_reads(lambda: values.nonzero()) == {"nonzero": 1}
    assert count_reads(lambda: values.long().bincount()) == {"bincount": 1}
    assert count_reads(lambda: values.repeat_interleave(values.long())) == {"repeat_interleave": 1}
    assert count_reads(lambda: values.repeat_interleave(values.long(), output_size=3)).total() == 0
    assert count_reads(lambda: values.repeat_interleave(2)).total() == 0
    assert count_reads(lambda: values[torch.tensor([1])]).total() == 0


def test_uploads_are_counted():
    values, meta = torch.arange(3.0), torch.zeros(3, device="meta")
    assert count_transfers(lambda: torch.tensor([1.0], device="cpu")).to_device == {"tensor": 1}
    assert count_transfers(lambda: torch.as_tensor([1.0])).to_device == {"as_tensor": 1}
    assert count_transfers(lambda: torch.as_tensor(values)).to_device.total() == 0
    assert count_transfers(lambda: values.new_tensor([1.0])).to_device == {"new_tensor": 1}
    assert count_transfers(lambda: values[[1, 2]]).to_device == {"index by a list": 1}
    assert count_transfers(lambda: values[1:]).to_device.total() == 0
    assert count_transfers(lambda: values.to("meta")).to_device == {"_to_copy": 1}
    assert count_transfers(lambda: meta.copy_(values)).to_device == {"copy_": 1}
    assert count_transfers(lambda: torch.arange(3, device="meta") + 1.0).to_device.total() == 0
    assert count_transfers(lambda: torch.full((3,), 2.0).clamp_min(3)).to_device.total() == 0


def test_operations_are_counted():
    assert count_transfers(lambda: (torch.zeros(3) + 1).sum()).operations == {"zeros": 1, "add": 1, "sum": 1}


def test_mixed_devices_are_noticed():
    with OneDevice(), pytest.raises(AssertionError, match="index mixes"):
        torch.zeros(3, device="meta")[torch.tensor([1])]


@pytest.mark.parametrize("numerics", ["openface", "exact"])
@pytest.mark.parametrize("kind", ["uint8", "float", "rgb"])
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_everything_happens_on_the_detectors_device(numerics, kind, where):
    """The meta device stands for a GPU: its tensors know their device and cannot be read; arguments come from either.

    (Torch's fake CUDA tensors cannot be indexed by builds of torch for the CPU alone.)
    """
    detector = LandmarkDetector(make_model(dtype=torch.float32), numerics).to("meta")
    frames = torch.zeros((2, 3, 72, 80) if kind == "rgb" else (2, 72, 80), device=where)
    frames = frames if kind == "float" else frames.to(torch.uint8)
    boxes, image_index = torch.ones(3, 4, device=where), torch.zeros(3, dtype=torch.int64, device=where)
    for multi_view in (False, True):
        with OneDevice():
            result = detector.fit(
                frames, boxes, image_index, preset=replace(CONFIG, weight_factor=2.5), multi_view=multi_view,
                regularisation=torch.ones(3), landmark_weight=torch.ones(N), visible=torch.ones(3, N, dtype=torch.bool),
            )  # fmt: skip
        fields = [*vars(result).values(), *vars(result.params).values()]
        values = [value for value in fields if isinstance(value, torch.Tensor)]
        assert {value.device.type for value in values} == {"meta"}
        assert result.landmarks.shape == (3, N, 2) and result.landmarks.dtype == torch.float32


@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_heatmap_experts_stay_on_their_device(where):
    detector = LandmarkDetector(make_heatmap_model(), "exact").to("meta")
    frames = torch.zeros(2, 72, 80, device=where, dtype=torch.uint8)
    boxes, image_index = torch.ones(3, 4, device=where), torch.zeros(3, dtype=torch.int64, device=where)
    with OneDevice():
        result = detector.fit(frames, boxes, image_index, multi_view=True)
    assert result.landmarks.device.type == "meta" and result.landmarks.shape == (3, N, 2)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("numerics", ["openface", "exact"])
@pytest.mark.parametrize("rules", [None, make_rules(cutoff=-0.3)], ids=["all", "early"])
def test_cuda_agrees_with_the_cpu(numerics, rules):
    """In float64, so that no rounding tips a face over; the real models are compared by the benchmarks."""
    boxes, results = make_boxes(9), []
    for device in ("cpu", "cuda"):
        detector = LandmarkDetector(make_model(rules=rules), numerics).to(device)
        results.append(detector.fit(make_images(), boxes, preset=CONFIG, multi_view=True))
        refined = detector.fit_from_landmarks(make_images(), results[-1].landmarks + 0.2, preset=CONFIG)
        assert refined.landmarks.device.type == device
    torch.testing.assert_close(results[1].landmarks.cpu(), results[0].landmarks, atol=1e-6, rtol=0)
    assert results[1].hypothesis.tolist() == results[0].hypothesis.tolist()
    assert results[1].success.tolist() == results[0].success.tolist()
