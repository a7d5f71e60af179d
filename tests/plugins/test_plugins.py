"""A package that registers a face detector, patch experts and a landmark model: used, saved, and loaded again."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import clnf_torch
from clnf_torch import BundleError, load, load_face_detector, save
from clnf_torch.media.images import read_image
from clnf_torch.models.plugins import PluginError, registered_names

DOCS = Path(__file__).resolve().parents[2] / "docs"
PACKAGE = DOCS / "examples" / "clnf_acme.py"


def install(folder: Path, entry_points: str) -> None:
    """Installs the package of the guide, as pip would: its module, and what it registers."""
    shutil.copy(PACKAGE, folder)
    (info := folder / "clnf_acme-1.0.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clnf-acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """The package of the guide, installed with what the guide's ``pyproject.toml`` registers."""
    toml = re.search(r"```toml\n(.*?)```", (DOCS / "guide" / "extend.md").read_text(), re.DOTALL).group(1)
    entries = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", toml).replace('"', "")
    (site := tmp_path / "site").mkdir()
    install(site, entries)
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("clnf_acme", None)


def test_a_face_detector_is_used_by_its_name(acme, image, bundle):
    found = clnf_torch.detect(image, bundle, face_detector="acme_middle")
    height, width = read_image(image).shape[1:]
    assert found.boxes.tolist() == [[width / 4, height / 4, width / 2, height / 2]]


def test_the_command_line_uses_it_too(acme, image, bundle, clnf_torch_cli, tmp_path):
    done = clnf_torch_cli("detect", image, "--model", bundle, "--detector", "acme_middle", "--csv", tmp_path / "a.csv")
    assert done.exit_code == 0, done.stderr
    clnf_torch.detect(image, bundle, face_detector="acme_middle").save(tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    refused = clnf_torch_cli(
        "detect", image, "--model", bundle, "--detector", "acme_midle", "--csv", tmp_path / "c.csv"
    )
    assert refused.exit_code == 1 and "face detectors: blazeface, acme_middle" in refused.stderr


def test_one_of_each_is_saved_and_loaded_again(acme, image, tmp_path):
    detector, finder = load("acme_dark_faces"), load_face_detector("acme_middle")
    finder.share = 0.6
    save(detector, tmp_path / "dark.pt", face_detector=finder, licence="mine")
    again = load(tmp_path / "dark.pt")
    assert again.model.family.name == "acme_dark" and again.origin["licence"] == "mine"
    assert load_face_detector(tmp_path / "dark.pt").share == 0.6
    frames, boxes = read_image(image)[None], torch.tensor([[60.0, 60.0, 120.0, 120.0]])
    torch.testing.assert_close(again.fit(frames, boxes).landmarks, detector.fit(frames, boxes).landmarks)
    found = clnf_torch.detect(image, tmp_path / "dark.pt")
    assert found.boxes[0, 2] == pytest.approx(0.6 * min(frames.shape[-2:]))


def test_info_describes_a_registered_family(acme, clnf_torch_cli, tmp_path):
    save(load("acme_dark_faces"), tmp_path / "dark.pt")
    done = clnf_torch_cli("info", tmp_path / "dark.pt")
    assert done.exit_code == 0 and "ACME_DARK, 3 x 3 px" in done.stdout


def test_without_the_package_a_sentence_says_what_is_missing(acme, monkeypatch, tmp_path):
    save(load("acme_dark_faces"), tmp_path / "dark.pt", face_detector=load_face_detector("acme_middle"))
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(acme)])
    with pytest.raises(BundleError, match=r"holds 'acme_dark' patch experts, .* install the package that registers"):
        load(tmp_path / "dark.pt")


@pytest.mark.parametrize("record", [{"share": 2.0}, {"share": "half"}, {}])
def test_a_detector_checks_its_own_record(acme, tmp_path, record):
    finder = load_face_detector("acme_middle")
    finder.to_record = lambda: {"kind": "acme_middle", **record}
    save(load("acme_dark_faces"), tmp_path / "dark.pt", face_detector=finder)
    with pytest.raises(BundleError, match="share"):
        load(tmp_path / "dark.pt")


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (
            "[clnf_torch.face_detectors]\nother = missing:Detector",
            "other: missing:Detector, registered in .*, cannot be",
        ),
        (
            "[clnf_torch.face_detectors]\nother = clnf_acme:dark_faces",
            "gives LandmarkModel, which has no method detect",
        ),
    ],
)
def test_what_is_registered_wrongly_is_named(tmp_path, monkeypatch, entries, text):
    install(tmp_path, entries)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=text):
        load_face_detector("other")
    sys.modules.pop("clnf_acme", None)


def test_nothing_is_imported_before_it_is_asked_for(acme):
    assert "acme_middle" in registered_names("clnf_torch.face_detectors")
    assert "clnf_acme" not in sys.modules
