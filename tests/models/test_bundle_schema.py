"""Bundles whose records are no model: each is refused when it is loaded, in one line that names the field."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import clnf_torch
from clnf_torch.files.archive import save_archive
from clnf_torch.models import array_schema
from clnf_torch.models.array_schema import bounds
from clnf_torch.models.bundle import FORMAT, VERSION, BundleError, build_model, load_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.unet import UNet
from tests.factories import make_boxes, make_images, make_model, make_pdm, make_rules
from tests.models.patch_experts.template_factories import WINDOW, make_ccnf, make_svr
from tests.models.test_families import unet_model
from tests.mtcnns import make_mtcnn_record
from tests.validators import make_validator_record

Damage = Callable[[dict[str, Any]], Any]


def make_whole(family: str = "cen") -> dict[str, Any]:
    """A bundle with all there can be."""
    pdm = make_pdm(torch.float32)
    model = {
        "cen": lambda: make_model(torch.float32, rules=make_rules(torch.float32)),
        "ccnf": lambda: LandmarkModel(pdm, [make_ccnf(dtype=torch.float32)]),
        "svr": lambda: LandmarkModel(pdm, [make_svr(dtype=torch.float32)]),
        "heatmap": unet_model,
    }[family]()
    pairs = torch.tensor([0, 3])
    part = {"name": "brow", "in_parent": pairs, "in_part": pairs, "model": make_model(torch.float32).to_record()}
    record = {**model.to_record(), "triangulations": [torch.tensor([[0, 1, 2]])], "parts": [part]}
    return {
        "format": FORMAT,
        "version": VERSION,
        "numerics": "openface",
        "licence": "none",
        "sources": [{"name": "a.dat", "bytes": 3, "sha256": "0" * 64, "published": None}, {"name": "faces"}],
        "model": record,
        "validator": make_validator_record(),
        "face_detector": make_mtcnn_record(),
    }


def put(path: str, value: Any) -> Damage:
    """A field, or one number of a tensor, is another: ``model.pdm.variances.0``."""

    def damage(bundle: dict[str, Any]) -> None:
        *way, last = [int(word) if word.isdigit() else word for word in path.split(".")]
        holder: Any = bundle
        for step in way:
            if isinstance(holder, dict) and isinstance(holder.get(step), torch.Tensor):
                holder[step] = holder[step].clone()
            holder = holder[step]
        if isinstance(holder, torch.Tensor):
            holder.view(-1)[last] = value
        else:
            holder[last] = value

    return damage


def swapped(path: str, one: Any, other: Any) -> Damage:
    """Two fields of one place change places."""

    def damage(bundle: dict[str, Any]) -> None:
        holder: Any = bundle
        for step in path.split("."):
            holder = holder[step]
        holder[one], holder[other] = holder[other], holder[one]

    return damage


NAN = math.nan
EXPERTS = "model.experts.0"
CASES: list[tuple[str, Damage, str]] = [
    ("cen", put("model.pdm.variances.0", -1.0), r"model\.pdm\.variances: expected numbers from 1e-06"),
    ("cen", put("model.pdm.variances.0", 0.0), r"model\.pdm\.variances"),
    ("cen", put("model.pdm.variances.1", NAN), r"model\.pdm\.variances"),
    ("cen", put("model.pdm.mean.4", NAN), r"model\.pdm\.mean"),
    ("cen", put("model.pdm.mean", torch.zeros(5, 3).double()), r"pdm\.mean: expected landmarks of a face"),
    ("cen", put("model.pdm.mean", torch.zeros(5, 3, dtype=torch.int64)), r"found a tensor \(5, 3\) of int64"),
    ("cen", put("model.pdm.modes", [1.0]), r"modes: expected a tensor \(M, 5, 3\) of .*, found a list of 1"),
    ("cen", put("model.pdm", None), r"model\.pdm: expected a dictionary of mean, modes, variances, found None"),
    ("cen", put("model", [1]), r"model: expected a dictionary"),
    ("cen", put("model.experts", []), r"model\.experts: expected a list of 1 to 16 scales"),
    ("cen", put(f"{EXPERTS}.scale", 0.0), r"experts\[0\]\.scale: expected a number from 0\.001 to 100, found 0\.0"),
    ("cen", put(f"{EXPERTS}.scale", NAN), r"experts\[0\]\.scale"),
    ("cen", put(f"{EXPERTS}.scale", True), r"experts\[0\]\.scale"),
    ("cen", put(f"{EXPERTS}.support", 0), r"experts\[0\]\.support"),
    ("cen", put(f"{EXPERTS}.support", 10**6), r"experts\[0\]\.support: expected a whole number from 1 to 64"),
    ("cen", put(f"{EXPERTS}.support", 5), r"experts\[0\]\.stacks\[0\]\.weights\[0\]: expected 25 inputs"),
    ("cen", put(f"{EXPERTS}.visible.0", False), None),  # harmless
    ("cen", put(f"{EXPERTS}.expert.0", 7), r"experts\[0\]\.expert: expected numbers from -1 to 6, found -1 to 7"),
    ("cen", put(f"{EXPERTS}.expert.0", -2), r"experts\[0\]\.expert"),
    ("cen", put(f"{EXPERTS}.expert.0", -1), r"expected an expert for every visible landmark"),
    ("cen", put(f"{EXPERTS}.confidence.3", -0.5), r"experts\[0\]\.confidence"),
    ("cen", put(f"{EXPERTS}.view_centers.3", 1e6), r"experts\[0\]\.view_centers"),
    ("cen", put(f"{EXPERTS}.stacks.0.weights.0.7", NAN), r"stacks\[0\]\.weights\[0\]: .*, found nan to nan"),
    ("cen", put(f"{EXPERTS}.stacks.0.biases.0.1", math.inf), r"stacks\[0\]\.biases\[0\]"),
    ("cen", put(f"{EXPERTS}.stacks.0.activations.0", "x" * 10**5), r"expected 'sigmoid' or .*, found 'xxx"),
    ("cen", put(f"{EXPERTS}.family", "x" * 10**5), r"patch experts, this program knows 'cen'"),
    ("cen", put(f"{EXPERTS}.family", ["cen"]), r"experts\[0\]: expected a dictionary with the name of a family"),
    (
        "cen",
        swapped("model.experts", 0, 1),
        r"experts\[1\]: expected scales from coarse to fine, found 0\.25 after 0\.5",
    ),
    ("cen", put("model.early_termination.cutoffs", torch.zeros(2).double()), r"early_termination\.cutoffs"),
    ("cen", put("model.triangulations.0", torch.tensor([[0, 1, 5]])), r"triangulations\[0\]"),
    (
        "cen",
        put("model.parts.0.in_parent.0", -1),
        r"parts\[0\]\.in_parent: expected numbers from 0 to 4, found -1 to 3",
    ),
    ("cen", put("model.parts.0.in_part.0", 5), r"parts\[0\]\.in_part"),
    ("cen", put("model.parts.0.in_part", torch.tensor([1])), r"parts\[0\]\.in_part"),
    ("cen", put("model.parts.0.name", "\x1b[2J"), r"parts\[0\]\.name: .* cannot be shown"),
    ("cen", put("model.parts.0.model.pdm.variances.0", NAN), r"parts\[0\]\.model\.pdm\.variances"),
    ("ccnf", put(f"{EXPERTS}.alphas.0", -1.0), r"experts\[0\]\.alphas"),
    ("ccnf", put(f"{EXPERTS}.betas.0", NAN), r"experts\[0\]\.betas"),
    ("ccnf", put(f"{EXPERTS}.components.{WINDOW}.0", NAN), rf"components\[{WINDOW}\]"),
    ("ccnf", put(f"{EXPERTS}.components.99", torch.zeros(2, 2)), r"components: expected windows of 1 to 25"),
    ("ccnf", put(f"{EXPERTS}.weights", torch.zeros(12, 9, 3)), r"13 visible landmarks need as many experts, found 12"),
    (
        "svr",
        put(f"{EXPERTS}.modalities", ["raw", "evil"]),
        r"modalities\[1\]: expected 'raw' or 'gradient', found 'evil'",
    ),
    ("svr", put(f"{EXPERTS}.modalities", ["raw"]), r"experts\[0\]\.modalities"),
    ("svr", put(f"{EXPERTS}.scalings.0", math.inf), r"experts\[0\]\.scalings"),
    ("heatmap", put(f"{EXPERTS}.width", 0), r"experts\[0\]\.width"),
    ("heatmap", put(f"{EXPERTS}.width", 30), r"experts\[0\]\.width: expected a side that 2 halvings divide"),
    ("heatmap", put(f"{EXPERTS}.widths", [10**6]), r"experts\[0\]\.widths\[0\]"),
    ("heatmap", put(f"{EXPERTS}.widths", [4, 7]), r"experts\[0\]\.network\..*: expected a tensor"),
    (
        "heatmap",
        lambda bundle: bundle["model"]["experts"][0]["network"]["head.bias"].fill_(NAN),
        r"experts\[0\]\.network\.head\.bias",
    ),
    ("heatmap", put(f"{EXPERTS}.network.more", torch.zeros(1)), r"experts\[0\]\.network: expected"),
    ("heatmap", put("model.experts.1.of", 2), r"experts\[1\]\.of: expected a whole number from 0 to 0, found 2"),
    ("heatmap", put("model.experts.2", {"family": "repeat", "of": 1}), r"experts\[2\]\.of: .* which repeat others"),
    ("cen", put("validator", [1]), r"validator: expected a dictionary of kind 'cnn', found a list of 1"),
    ("cen", put("validator.kind", "rnn"), r"validator: is of kind 'rnn', this program knows 'cnn'"),
    ("cen", put("validator.size", [10**6, 10**6]), r"validator\.size\[0\]"),
    ("cen", put("validator.views.0.pixels.0", 10**6), r"validator\.views\[0\]\.pixels"),
    ("cen", put("validator.views.0.triangles.0", 5), r"validator\.views\[0\]\.triangles"),
    ("cen", put("validator.views.0.triangle.0", -1), r"validator\.views\[0\]\.triangle:"),
    ("cen", put("validator.views.0.deviation.0", 0.0), r"validator\.views\[0\]\.deviation"),
    ("cen", put("validator.views.0.layers.0.weight.0", NAN), r"layers\[0\]\.weight"),
    ("cen", put("validator.views.0.layers.2.stride", [3, 3]), r"layers\[2\]\.stride"),
    ("cen", put("validator.views.0.layers.0.kind", "evil"), r"layers\[0\]\.kind: expected conv or .*, found 'evil'"),
    ("cen", swapped("validator.views", 0, 1), None),  # the views fit either orientation
    ("cen", swapped("face_detector", "rnet", "onet"), r"face_detector\.rnet"),
    ("cen", swapped("face_detector", "pnet", "rnet"), r"face_detector\.pnet"),
    ("cen", put("face_detector.config", {"factor": 0.9999}), r"face_detector\.config\.factor"),
    ("cen", put("face_detector.config", {"min_face": NAN}), r"face_detector\.config\.min_face"),
    ("cen", put("face_detector.to_landmarks", [0, NAN, 1, 1]), r"face_detector\.to_landmarks\[1\]"),
    ("cen", put("numerics", "evil"), r"numerics: expected 'openface' or 'exact', found 'evil'"),
    ("cen", put("licence", "x" * 10**6), r"licence: expected a text"),
    ("cen", put("sources", [{"sha256": "0"}]), r"sources\[0\]: expected a field 'name'"),
    ("cen", put("version", torch.ones(2)), r"is a bundle of version a tensor \(2,\) of float32"),
    ("cen", put("format", torch.ones(2)), r"other contents"),
]


@pytest.mark.parametrize(("family", "damage", "complaint"), CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)])
def test_records_that_are_no_model(tmp_path, family, damage, complaint):
    bundle = make_whole(family)
    damage(bundle)
    save_archive(bundle, tmp_path / "m.pt")
    if complaint is None:
        result = clnf_torch.load(tmp_path / "m.pt").fit(make_images().float(), make_boxes(1).float())
        assert result.landmarks.isfinite().all()
        return
    with pytest.raises(BundleError, match=complaint) as caught:
        load_bundle(tmp_path / "m.pt")
    assert str(caught.value).startswith(f"{tmp_path / 'm.pt'}: ") and len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("family", ["cen", "ccnf", "svr", "heatmap"])
def test_a_sound_one_asks_for_no_gradients(tmp_path, family):
    save_archive(make_whole(family), tmp_path / "m.pt")
    detector = clnf_torch.load(tmp_path / "m.pt")
    assert not any(parameter.requires_grad for parameter in detector.parameters())
    result = detector.fit(make_images().float(), make_boxes(1).float())
    assert not result.landmarks.requires_grad and result.landmarks.numpy().shape == (1, 5, 2)
    detector.requires_grad_()
    learning = [parameter for parameter in detector.model.experts.parameters() if parameter.is_floating_point()]
    assert learning and all(parameter.requires_grad for parameter in learning)


def test_unknown_fields_are_of_no_interest(tmp_path):
    bundle = make_whole()
    bundle["novelty"], bundle["model"]["novelty"], bundle[7] = [1], {"a": 1}, None
    save_archive(bundle, tmp_path / "m.pt")
    assert load_bundle(tmp_path / "m.pt")["novelty"] == [1]


def wide(experts: dict[str, Any]) -> dict[str, Any]:
    """Heatmap experts with a layer of 590,000 weights."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in UNet(5, (4, 256), False).state_dict().items()}
    return {**experts, "widths": [4, 256], "network": {name: torch.zeros(shape) for name, shape in shapes.items()}}


def test_large_tensors_are_read_once(tmp_path, monkeypatch):
    bundle, seen = make_whole("heatmap"), []
    bundle["model"]["experts"] = [wide(bundle["model"]["experts"][0])]
    save_archive(bundle, tmp_path / "m.pt")
    monkeypatch.setattr(array_schema, "bounds", lambda tensor: seen.append(tensor.numel()) or bounds(tensor))
    build_model(load_bundle(tmp_path / "m.pt"))
    assert seen and max(seen) < 1 << 16
    build_model(dict(load_bundle(tmp_path / "m.pt")))
    assert max(seen) == 256 * 256 * 9


def test_many_scales_cannot_share_a_large_network(tmp_path):
    record = unet_model().to_record()
    record["experts"] = [record["experts"][0]] * 16
    record["experts"][0]["network"]["stem.0.weight"] = torch.zeros(4, 1, 5, 5)
    bundle = {**make_whole(), "model": record, "padding": torch.zeros(0)}
    save_archive(bundle, tmp_path / "m.pt")
    clnf_torch.load(tmp_path / "m.pt")  # small ones may
    large = make_whole("heatmap")["model"]
    first = large["experts"][0] = wide(large["experts"][0])
    large["experts"] = [first] * 16
    save_archive({**bundle, "model": large}, tmp_path / "m.pt")
    with pytest.raises(BundleError, match="expected tensors of their own, found more numbers than the file has"):
        clnf_torch.load(tmp_path / "m.pt")


def test_a_list_that_holds_itself(tmp_path):
    bundle = make_whole()
    bundle["model"]["parts"] = endless = []
    endless.append(
        {"name": "a", "in_parent": torch.tensor([0]), "in_part": torch.tensor([0]), "model": bundle["model"]}
    )
    torch.save(bundle, tmp_path / "m.pt")
    with pytest.raises(BundleError, match=r"parts\[0\]\.model\.parts\[0\]\.model\.parts: expected a list of at most 0"):
        load_bundle(tmp_path / "m.pt")


def test_a_record_made_by_hand_is_checked_too():
    record = make_whole()["model"]
    record["pdm"]["variances"][0] = NAN
    with pytest.raises(BundleError, match=r"do not make a model \(model\.pdm\.variances"):
        build_model({"model": record})


def test_a_part_of_more_scales_than_its_settings_have_is_refused(tmp_path):
    bundle = make_whole()
    experts = bundle["model"]["parts"][0]["model"]["experts"]
    experts.append({"family": "repeat", "of": 1})
    save_archive(bundle, tmp_path / "m.pt")
    with pytest.raises(BundleError, match=r"the part 'brow' cannot be fitted: window_sizes \(11, 9\) do not suit"):
        clnf_torch.load(tmp_path / "m.pt")
