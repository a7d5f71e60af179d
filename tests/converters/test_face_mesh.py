"""`clnf_torch.converters.mediapipe_package.face_mesh`: a network that begins as the package's."""

from __future__ import annotations

import zipfile

import pytest
import torch

pytest.importorskip("tflite", reason="the extra mediapipe is not installed")

from clnf_torch.converters import ConversionError
from clnf_torch.converters.mediapipe_package.face_mesh import FILE, untrained_network
from clnf_torch.models.patch_experts.mesh import LARGE
from tests.converters.mesh_package import mesh_layers, random_network, write_wheel
from tests.converters.tflite_files import write_tflite


def test_the_trunk_is_the_packages(tmp_path):
    own = random_network()
    made = untrained_network(write_wheel(tmp_path / "mediapipe-0.10.14.whl", own), 68, seed=5).state_dict()
    again = untrained_network(tmp_path / "mediapipe-0.10.14.whl", 68, seed=6).state_dict()
    for name, value in own.state_dict().items():
        if name.partition(".")[0] in own.trunk_layers:
            # Halves and quarters of float16 may be too small for it
            torch.testing.assert_close(made[name], value, rtol=0, atol=1e-6)
            assert torch.equal(made[name], again[name])
    large = untrained_network(tmp_path / "mediapipe-0.10.14.whl", 68, LARGE)
    assert large.back == LARGE and large.normalised and torch.equal(large.stem.weight, made["stem.weight"])
    assert not torch.equal(made["head.weight"], again["head.weight"])


def test_other_networks_are_refused(tmp_path):
    layers = mesh_layers(random_network())
    for changed, complaint in ((layers[:9], "9 layers with weights"), (layers[1:] + layers[:1], "prelu of shape")):
        with zipfile.ZipFile(tmp_path / "mediapipe.whl", "w") as archive:
            archive.writestr(f"mediapipe/{FILE}", write_tflite(changed, sparse=False))
        with pytest.raises(ConversionError, match=f"expected the network face mesh.*{complaint}"):
            untrained_network(tmp_path / "mediapipe.whl", 68)
