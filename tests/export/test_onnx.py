"""Heatmap experts as ONNX: the same maps in ONNX Runtime, for any number of faces."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.export.onnx import export_onnx, onnx_files
from clnf_torch.models.bundle import build_model, default_bundle, load_bundle

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason=f"{module} is not installed: pip install 'clnf-torch[onnx]' onnxruntime")

# Of probabilities up to 0.1. Measured: at most 3e-7, from sums in another order
CLOSE = 2e-6


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The default model, and its files by the experts in them."""
    model = build_model(load_bundle(default_bundle()))
    path = tmp_path_factory.mktemp("onnx") / "experts.onnx"
    return dict(zip(onnx_files(model, path).values(), export_onnx(model, path), strict=True))


def test_every_scale_with_experts_of_its_own_has_a_file(exported):
    assert [path.name for path in exported.values()] == [
        "experts_0.225.onnx",
        "experts_0.225_2.onnx",
        "experts_0.3.onnx",
    ]


@pytest.mark.parametrize("faces", [1, 3])
def test_maps_are_those_of_torch(exported, faces, rng):
    import onnxruntime

    for experts, path in exported.items():
        areas = 255 * torch.rand(faces, experts.width, experts.width, generator=rng)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (maps,) = session.run(["maps"], {"areas": areas.numpy()})
        torch.testing.assert_close(torch.from_numpy(maps), experts.maps(areas), rtol=0, atol=CLOSE)
        assert session.get_modelmeta().custom_metadata_map["clnf_torch.scale"] == f"{experts.scale}"


def test_other_families_are_refused(bundle, tmp_path):
    with pytest.raises(ValueError, match="expected heatmap experts, found cen experts"):
        export_onnx(build_model(load_bundle(bundle)), tmp_path / "experts.onnx")


def test_the_command_writes_the_files(clnf_torch_cli, bundle, tmp_path):
    done = clnf_torch_cli("export", default_bundle(), "--onnx", tmp_path / "a.onnx")
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_0.225.onnx", "a_0.225_2.onnx", "a_0.3.onnx"]
    refused = clnf_torch_cli("export", bundle, "--onnx", tmp_path / "b.onnx")
    assert refused.exit_code == 2 and "found cen experts" in refused.stderr
    assert clnf_torch_cli("export", bundle).exit_code == 2
