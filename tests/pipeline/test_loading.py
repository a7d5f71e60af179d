"""Detectors in files: loaded, changed, saved, and loaded again to the last bit; and what `load` refuses."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.utils import parametrizations, prune

import clnf_torch
from clnf_torch import BundleError, load, load_face_detector, save
from clnf_torch.detection import BlazeFace
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import INSTALLED_MODELS, bundle_file, default_bundle, load_bundle
from clnf_torch.pipeline import load_face_detector_for


@pytest.fixture
def fitted(image, box):
    """Landmarks and confidence that a detector finds in the free model's image."""

    def fit(detector):
        result = detector.fit(read_image(image)[None].expand(1, 3, -1, -1), torch.tensor([box]))
        return result.landmarks, result.confidence

    return fit


@pytest.mark.parametrize("default", [True, False], ids=["default model", "free model"])
def test_what_is_saved_is_loaded_to_the_last_bit(default, bundle, fitted, tmp_path):
    path = default_bundle() if default else bundle
    before = load(path)
    save(before, tmp_path / "again.pt")
    after = load(tmp_path / "again.pt")
    assert before.state_dict().keys() == after.state_dict().keys()
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    assert all(map(torch.equal, fitted(before), fitted(after)))
    assert (after.numerics, after.origin["licence"]) == (before.numerics, before.origin["licence"])
    assert load_bundle(tmp_path / "again.pt")["sources"] == load_bundle(path)["sources"]


def test_the_face_detector_of_a_bundle_stays_with_it(tmp_path):
    save(load(), tmp_path / "again.pt")
    before, after = load_face_detector(), load_face_detector(tmp_path / "again.pt")
    assert all(map(torch.equal, before.state_dict().values(), after.state_dict().values()))
    assert (after.config, after.to_landmarks) == (before.config, before.to_landmarks)


def test_the_face_detector_of_a_bundle_is_made_without_reading_it_again(tmp_path):
    path = tmp_path / "again.pt"
    save(load(), path)
    expected, detector = load_face_detector(path), load(path)
    path.unlink()
    own = load_face_detector_for(detector, path)
    assert all(map(torch.equal, expected.state_dict().values(), own.state_dict().values()))
    assert own.config == expected.config
    assert isinstance(load_face_detector_for(detector, path, "blazeface"), BlazeFace)


def test_a_bundle_without_a_face_detector_says_so(bundle):
    with pytest.raises(BundleError, match="holds no face detector"):
        load_face_detector_for(load(bundle), bundle)


def test_another_face_detector_is_saved(bundle, tmp_path):
    own = load_face_detector()
    save(load(bundle), tmp_path / "again.pt", face_detector=own, licence="for tests")
    after = load_face_detector(tmp_path / "again.pt")
    assert all(map(torch.equal, own.state_dict().values(), after.state_dict().values()))
    assert load(tmp_path / "again.pt").origin["licence"] == "for tests"


def test_a_bundle_finds_faces_with_its_own_blazeface(bundle, tmp_path):
    own, path = load_face_detector("blazeface"), tmp_path / "again.pt"
    installed = own.to_landmarks.clone()
    own.to_landmarks += 0.1
    save(load(bundle), path, face_detector=own)
    for found in (load_face_detector(path), load_face_detector_for(load(path), path)):
        assert isinstance(found, BlazeFace) and found.config == own.config
        assert torch.equal(found.to_landmarks, own.to_landmarks)
    # The name means the installed one, whatever the bundle holds
    assert torch.equal(load_face_detector_for(load(path), path, "blazeface").to_landmarks, installed)
    # Other networks' maps were learned on other faces
    assert list(load_bundle(path)["face_detector"]["networks"]) == [own.config.network]


def test_another_shape_model_is_used_and_saved(bundle, fitted, tmp_path):
    one, other = load(bundle), load(bundle)
    wider = copy.deepcopy(other.model.pdm)
    wider.mean[:, 0] *= 1.1
    one.model.pdm = wider
    assert not torch.equal(fitted(one)[0], fitted(other)[0])
    save(one, tmp_path / "wider.pt")
    assert torch.equal(fitted(load(tmp_path / "wider.pt"))[0], fitted(one)[0])


def test_trained_weights_are_saved_as_they_are_now(bundle, fitted, tmp_path):
    detector = load(bundle)
    for value in detector.model.experts.state_dict().values():
        if value.is_floating_point() and value.numel() > 1000:
            value.mul_(0.5)
    save(detector, tmp_path / "trained.pt")
    assert torch.equal(fitted(load(tmp_path / "trained.pt"))[0], fitted(detector)[0])


def test_a_detector_is_called_as_a_module(bundle, image, box):
    detector = load(bundle)
    frames, boxes = read_image(image)[None], torch.tensor([box])
    torch.testing.assert_close(detector(frames, boxes).landmarks, detector.fit(frames, boxes).landmarks)


def test_help_says_what_each_field_of_a_result_is():
    text = clnf_torch.FitResult.__doc__
    assert all(f"        {name}: " in text for name in clnf_torch.FitResult.__dataclass_fields__)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_short_number_types_are_refused(dtype, bundle):
    with pytest.raises(ValueError, match=r'give torch.float32 or torch.float64, .* precision="bf16"'):
        load(bundle, dtype=dtype)


def test_a_device_that_is_not_there_is_said_in_a_sentence(bundle):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match=r"^device cuda: not available: [^\n]{5,200}$"):
        load(bundle, "cuda")
    with pytest.raises(ValueError, match="device is 'gpu'; give cpu, cuda"):
        load(bundle, "gpu")


def test_an_openface_model_directory_is_named_with_the_way_to_convert_it(free_model, tmp_path):
    with pytest.raises(BundleError, match="this is an OpenFace model directory, not a bundle; convert it with: clnf-t"):
        load(free_model)
    main = next(free_model.glob("main_*.txt"))
    with pytest.raises(BundleError, match=f"convert that with: clnf-torch convert {free_model} -o openface.pt"):
        load(main)
    with pytest.raises(BundleError, match=r"is a folder, not a bundle; give the \.pt file"):
        load(tmp_path)


@pytest.mark.parametrize("name", INSTALLED_MODELS)
def test_installed_models_have_names(name, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(name).origin["sources"] == load_bundle(bundle_file(name))["sources"]
    assert load_face_detector(name) is not None
    # A file of that name is the one that is meant
    (tmp_path / name).write_bytes(bundle.read_bytes())
    assert load(name).origin["sources"] == load_bundle(bundle)["sources"]


def test_pruned_and_parametrized_weights_are_refused_with_the_way_out(tmp_path):
    for change in (lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5), parametrizations.weight_norm):
        detector = clnf_torch.load()
        change(detector.model.experts[0].network.stem)
        (tmp_path / "model.pt").write_bytes(b"older")
        with pytest.raises(ValueError, match=r"found model\.experts\.0\.network\.stem.*remove"):
            clnf_torch.save(detector, tmp_path / "model.pt")
        assert (tmp_path / "model.pt").read_bytes() == b"older"
