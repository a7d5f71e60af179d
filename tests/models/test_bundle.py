"""`clnf_torch.models.bundle`: a bundle as in its description becomes a model, and anything else a clear message."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clnf_torch.models.bundle import BundleError, build_model, load_bundle
from clnf_torch.models.numerics import OPENFACE
from clnf_torch.models.patch_experts.ccnf import CCNFExperts
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.svr import SVRExperts
from tests.factories import EXPERT, FLIPPED, make_experts, make_model, make_pdm, make_rules
from tests.models.patch_experts.template_factories import WINDOW, make_ccnf, make_svr, relations


def make_bundle(half: bool = False) -> dict[str, Any]:
    """The small model, as ``clnf-torch convert`` would write it."""
    pdm, rules = make_pdm(), make_rules()
    number = torch.float16 if half else torch.float32
    return {
        "format": "clnf_torch bundle",
        "version": 1,
        "numerics": "openface",
        "model": {
            "pdm": {"mean": pdm.mean.data, "modes": pdm.modes.data, "variances": pdm.variances.data},
            "triangulations": [torch.tensor([[0, 1, 2]])],
            "early_termination": dict(zip(("weights", "biases", "cutoffs"), rules, strict=True)),
            "experts": [expert_record(0.25, 3, 3, number), expert_record(0.5, 5, 13, number)],
            "parts": [],
        },
    }


def expert_record(scale: float, support: int, seed: int, number: torch.dtype) -> dict[str, Any]:
    experts = make_experts(scale, support, seed=seed)
    return {
        "family": "cen",
        "scale": scale,
        "support": support,
        "view_centers": experts.view_centers,
        "visible": experts.visible,
        "confidence": experts.confidence,
        "expert": torch.tensor(EXPERT),
        "flipped": torch.tensor(FLIPPED).bool(),
        "stacks": [
            {
                "activations": list(stack.activations),
                "weights": [weight.data.to(number) for weight in stack.weights],
                "biases": [bias.data.to(number) for bias in stack.biases],
            }
            for stack in experts.stacks
        ],
    }


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.pt"
    torch.save(make_bundle(), path)
    return path


def test_a_saved_bundle_becomes_the_model(saved, dtype):
    model = build_model(load_bundle(saved), dtype)
    assert model.pdm.mean.dtype == dtype and model.family is CENExperts and model.num_scales == 2
    torch.testing.assert_close(model.triangulations[0], torch.tensor([[0, 1, 2]]))
    areas = 255 * torch.rand(3, 5, 7, 7, generator=torch.Generator().manual_seed(0), dtype=dtype)
    view = torch.tensor([0, 2, 1])
    found, expected = (m.experts[0](areas, view, OPENFACE) for m in (model, make_model(dtype)))
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-4)  # the bundle's weights are float32


def test_half_weights_stay_half_and_answer_alike():
    model = build_model(make_bundle(half=True))
    weights = [weight for stack in model.experts[0].stacks for weight in stack.weights]
    assert {weight.dtype for weight in weights} == {torch.float16}
    areas = 255 * torch.rand(3, 5, 7, 7, generator=torch.Generator().manual_seed(0))
    view = torch.tensor([0, 2, 1])
    found, expected = (m.experts[0](areas, view, OPENFACE) for m in (model, build_model(make_bundle())))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_no_such_file(tmp_path):
    with pytest.raises(BundleError, match=r"no such file; make one with: clnf-torch convert MODEL_DIR -o none\.pt"):
        load_bundle(tmp_path / "none.pt")


@pytest.mark.parametrize("content", [b"", b"not a bundle", b"PK\x03\x04" + bytes(200), b"\x80\x02}q\x00."])
def test_another_file(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"expected a .*bundle from clnf-torch convert or train, found"):
        load_bundle(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_bundle(saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(BundleError, match="damaged file"):
        load_bundle(saved)


@pytest.mark.parametrize("content", [[1, 2], {"format": "other"}, torch.zeros(3)])
def test_another_pt_file(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(BundleError, match="other contents"):
        load_bundle(tmp_path / "other.pt")


def test_another_version(tmp_path):
    torch.save({**make_bundle(), "version": 2}, tmp_path / "new.pt")
    with pytest.raises(BundleError, match="version 2, this program reads version 1; convert or train the model again"):
        load_bundle(tmp_path / "new.pt")


@pytest.mark.parametrize("field", ["pdm", "experts", "early_termination", "triangulations"])
def test_a_missing_field(field):
    bundle = make_bundle()
    del bundle["model"][field]
    with pytest.raises(BundleError, match=f"do not make a model .*{field}"):
        build_model(bundle)


def test_fields_that_do_not_fit():
    bundle = make_bundle()
    bundle["model"]["experts"][1]["stacks"][0]["weights"][1] = torch.zeros(4, 9, 4)
    with pytest.raises(BundleError, match="do not chain"):
        build_model(bundle)


def test_an_unknown_family():
    bundle = make_bundle()
    bundle["model"]["experts"][0]["family"] = "forest"
    with pytest.raises(BundleError, match="'forest' patch experts, this program knows 'cen', 'ccnf', 'svr'"):
        build_model(bundle)


@pytest.mark.parametrize(("make", "family"), [(make_ccnf, CCNFExperts), (make_svr, SVRExperts)])
def test_experts_of_other_families(make, family, dtype):
    experts, bundle = make(), make_bundle()
    record = {name: getattr(experts, name) for name in ("scale", "support", "view_centers", "visible", "confidence")}
    record |= {name: values.data for name, values in experts.named_parameters()}
    record |= {"family": family.name, "modalities": ["raw", "gradient"], "components": {WINDOW: relations()}}
    bundle["model"]["experts"] = [record, record]
    model = build_model(bundle, dtype)
    assert model.family is family
    areas = 255 * torch.rand(3, 5, 7, 7, generator=torch.Generator().manual_seed(0), dtype=dtype)
    found = model.experts[1](areas, torch.tensor([0, 2, 1]), OPENFACE)
    assert found.dtype == dtype
    expected = experts(areas.double(), torch.tensor([0, 2, 1]), OPENFACE)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


def test_experts_that_do_not_fit():
    bundle, experts = make_bundle(), make_svr()
    record = {name: getattr(experts, name) for name in ("scale", "support", "view_centers", "visible", "confidence")}
    record |= {name: values.data[:-1] for name, values in experts.named_parameters()}
    bundle["model"]["experts"] = [record | {"family": "svr", "modalities": ["raw", "gradient"]}]
    with pytest.raises(BundleError, match="13 visible landmarks need as many experts"):
        build_model(bundle)
