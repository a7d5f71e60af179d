"""From a model directory to a bundle: what is inside, what is said, and what a failure leaves."""

from __future__ import annotations

import hashlib

import pytest
import torch

from clnf_torch.converters import ConversionError, convert
from clnf_torch.converters.__main__ import main as run
from clnf_torch.converters.openface import sources
from clnf_torch.models.bundle import build_model, load_bundle
from tests.converters.model_directory import SCALES


def test_the_bundle_says_where_it_comes_from(model_main, tmp_path):
    report = convert(model_main.parent, tmp_path / "m.pt")
    bundle = torch.load(tmp_path / "m.pt", weights_only=True, mmap=True)
    assert (bundle["format"], bundle["version"], bundle["numerics"]) == ("clnf_torch bundle", 1, "openface")
    assert bundle["writer"].startswith("clnf_torch 0.") and "forbids passing" in bundle["licence"]
    names = ["main_ceclm_general.txt", "cen.txt", "pdms/pdm.txt", "tris.txt", "early.txt", "validator.txt"]
    names += ["eye/main.txt", "eye/eye.txt", "eye/pdm.txt"]
    names += [*(f"cen_patches_{scale:.2f}_of.dat" for scale in SCALES), "eye/cen_patches_1.00_of.dat"]
    assert [source["name"] for source in bundle["sources"]] == names
    for source in bundle["sources"]:
        content = (model_main.parent / source["name"]).read_bytes()
        assert (source["bytes"], source["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert source["published"] is (False if source["name"].endswith(".dat") else None)
    assert report.bytes == (tmp_path / "m.pt").stat().st_size and report.scales == SCALES
    assert [source.sha256 for source in report.sources] == [source["sha256"] for source in bundle["sources"]]


def test_published_files_are_known(model_main, tmp_path, monkeypatch):
    path = model_main.parent / "cen_patches_0.25_of.dat"
    published = frozenset({hashlib.sha256(path.read_bytes()).hexdigest()})
    assert sources.describe_source(path, path.parent, published).published is True
    assert len(sources.PUBLISHED_CEN) == 4 and all(len(digest) == 64 for digest in sources.PUBLISHED_CEN)


def test_everything_else_in_the_model(model_main, tmp_path):
    convert(model_main, tmp_path / "m.pt")
    bundle = torch.load(tmp_path / "m.pt", weights_only=True)
    model, validator = bundle["model"], bundle["validator"]
    assert model["pdm"]["modes"].shape == (2, 5, 3)
    assert [part["name"] for part in model["parts"]] == ["left_eye_28"]
    assert validator["kind"] == "cnn" and validator["size"] == [60, 60] and len(validator["views"]) == 2
    assert bundle["face_detector"] is None
    assert len(model["triangulations"]) == 3 and model["early_termination"]["cutoffs"].tolist() == [-0.2, -0.3, -0.3]


def test_optional_files_may_be_missing(model_main, tmp_path):
    description = model_main.parent / "cen.txt"
    lines = [line for line in description.read_text().splitlines() if not line.startswith(("Tri", "Early"))]
    description.write_text("\n".join(lines))
    convert(model_main, tmp_path / "m.pt")
    model = torch.load(tmp_path / "m.pt", weights_only=True)["model"]
    assert model["triangulations"] == [] and model["early_termination"] is None


def test_each_line_that_is_left_out_is_reported(model_main, tmp_path):
    with open(model_main, "a") as file:
        file.write("\n# a comment\nHeadgear hat.txt\n")
    with open(model_main.parent / "cen.txt", "ab") as file:
        file.write(b"\r\nPatchesCCNF a.txt\r\nPatchesIntensity b.txt")
    report = convert(model_main, tmp_path / "m.pt")
    assert [(line.entry, line.reason.split(":")[0]) for line in report.skipped] == [
        ("FaceDetConversion haar.txt", "OpenFace ignores it too"),
        ("Headgear hat.txt", "unknown keyword"),
        ("PatchesCCNF a.txt", "CEN experts win over CCNF experts where a model has both"),
        ("PatchesIntensity b.txt", "CEN experts win over SVR experts where a model has both"),
    ]
    bundle = torch.load(tmp_path / "m.pt", weights_only=True)
    assert bundle["skipped"] == [{"entry": line.entry, "reason": line.reason} for line in report.skipped]


def test_openface_itself(openface_models, tmp_path):
    report = convert(openface_models, tmp_path / "m.pt")
    assert report.main.name == "main_ceclm_general.txt" and len(report.sources) == 24
    assert {path.name for path in report.others} == {
        f"main_{n}.txt" for n in ("clm_general", "clnf_general", "clnf_wild")
    }
    assert [line.entry.split()[0] for line in report.skipped] == ["FaceDetConversion"]
    bundle = torch.load(tmp_path / "m.pt", weights_only=True)
    model = bundle["model"]
    assert model["pdm"]["modes"].shape == (34, 68, 3) and len(model["triangulations"]) == 7
    assert len(bundle["validator"]["views"]) == 7


@pytest.mark.parametrize(
    ("name", "family", "points", "views", "scales"),
    [
        ("main_clnf_general.txt", "ccnf", 68, 7, (0.25, 0.35, 0.5)),
        ("main_clnf_wild.txt", "ccnf", 68, 3, (0.25, 0.35, 0.5, 1.0)),
        ("main_clm_general.txt", "svr", 68, 7, (0.25, 0.35, 0.5)),
        ("model_inner/main_clnf_inner.txt", "ccnf", 51, 7, (1.0,)),
        ("model_eye/main_clnf_synth_left.txt", "ccnf", 28, 1, (1.0, 1.5)),
        ("model_eye/main_clnf_synth_right.txt", "ccnf", 28, 1, (1.0, 1.5)),
    ],
)
def test_models_of_other_families(openface_models, tmp_path, name, family, points, views, scales):
    report = convert(openface_models / name, tmp_path / "m.pt")
    assert report.scales == scales
    assert all(source.published is None for source in report.sources if "patches" in source.name)
    model = build_model(load_bundle(tmp_path / "m.pt"))
    assert model.family.name == family and model.patch_scales == scales
    assert {experts.visible.shape for experts in model.experts} == {(views, points)}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("main_ceclm_general.txt", "LandmarkDetector cen.txt", "", "a line LandmarkDetector"),
        ("main_ceclm_general.txt", "cen.txt", "", "a path after LandmarkDetector"),
        ("main_ceclm_general.txt", "cen.txt", "missing.txt", "found no such file"),
        ("main_ceclm_general.txt", "cen.txt", "cen.txt\nLandmarkDetector cen.txt", "one line LandmarkDetector"),
        ("cen.txt", "PDM pdms/pdm.txt", "", "a line PDM"),
        ("cen.txt", "PatchesCEN", "PatchesNEC", "a line PatchesCEN or PatchesCCNF or PatchesIntensity"),
        ("cen.txt", "pdms/pdm.txt", "pdms", "found a folder"),
        ("cen.txt", "pdms/pdm.txt", "cen_patches_0.25_of.dat", "a text file"),
        ("cen.txt", "cen_patches_0.50_of.dat", "cen.txt", "found text"),
        ("cen.txt", "tris.txt", "no.txt", "expected triangulations, found no such file"),
    ],
)
def test_descriptions_that_lead_nowhere(model_main, tmp_path, file, old, new, expected):
    path = model_main.parent / file
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))
    with pytest.raises(ConversionError, match=expected):
        convert(model_main, tmp_path / "m.pt")
    assert not (tmp_path / "m.pt").exists()


def test_a_download_page_as_description(model_main, tmp_path):
    model_main.write_text("<!DOCTYPE html>\n<html>\n" + "<p>Too many requests</p>\n" * 50)
    with pytest.raises(ConversionError, match="found a web page") as caught:
        convert(model_main, tmp_path / "m.pt")
    assert len(str(caught.value)) < 400


def test_a_landmark_models_own_description_will_do(model_main, tmp_path):
    report = convert(model_main.parent / "cen.txt", tmp_path / "m.pt")
    assert report.scales == SCALES and report.skipped == ()


def test_outputs_that_cannot_be(model_main, tmp_path):
    before = (model_main.parent / "cen_patches_0.25_of.dat").read_bytes()
    for out, expected in (
        (tmp_path, "found a folder"),
        (tmp_path / "no" / "m.pt", "found no folder"),
        (model_main.parent / "cen_patches_0.25_of.dat", "one of the files to convert"),
    ):
        with pytest.raises(ConversionError, match=expected):
            convert(model_main, out)
    assert (model_main.parent / "cen_patches_0.25_of.dat").read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing_behind(model_main, tmp_path, error):
    out = tmp_path / "out" / "m.pt"
    out.parent.mkdir()
    calls = []

    def interrupt(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 20:
            assert [path.suffix for path in out.parent.iterdir()] == [".partial"]
            raise error

    with pytest.raises((KeyboardInterrupt, ConversionError)) as caught:
        convert(model_main, out, progress=interrupt)
    assert len(calls) == 20 and not list(out.parent.iterdir())
    assert caught.type is KeyboardInterrupt or "No space left" in str(caught.value)


def test_progress_counts_the_bytes(model_main, tmp_path):
    calls = []
    convert(model_main, tmp_path / "m.pt", progress=lambda done, total: calls.append((done, total)))
    done, totals = zip(*calls, strict=True)
    assert list(done) == sorted(done) and set(totals) == {done[-1]}


def test_run_as_a_module(model_main, tmp_path, capsys):
    assert run([str(model_main), str(tmp_path / "m.pt")]) == 0
    assert "skipped FaceDetConversion haar.txt: OpenFace ignores" in capsys.readouterr().out
    assert run([str(tmp_path / "nowhere"), str(tmp_path / "n.pt")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_files_that_changed_places_are_refused(model_main, tmp_path):
    one, other = (model_main.parent / f"cen_patches_{scale:.2f}_of.dat" for scale in SCALES)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    with pytest.raises(
        ConversionError, match=r"experts of scale 0\.25, as its name says, found those of scale 0\.5; did two"
    ):
        convert(model_main, tmp_path / "m.pt")


def test_files_in_another_order_are_refused(model_main, tmp_path):
    description = model_main.parent / "cen.txt"
    lines = description.read_bytes().split(b"\r\n")
    where = [number for number, line in enumerate(lines) if line.startswith(b"PatchesCEN")]
    lines[where[0]], lines[where[1]] = lines[where[1]], lines[where[0]]
    description.write_bytes(b"\r\n".join(lines))
    with pytest.raises(ConversionError, match=r"expected scales from coarse to fine, after 0\.5, found 0\.25"):
        convert(model_main, tmp_path / "m.pt")


@pytest.mark.parametrize(
    "name", ["cen_patches_0.25_of.dat?dl=1", "cen_patches_0.25_of (1).dat", "CEN_patches_0.25_of.DAT"]
)
def test_a_file_under_the_name_of_a_download_is_named(model_main, tmp_path, name):
    file = model_main.parent / "cen_patches_0.25_of.dat"
    file.rename(file.with_name(name))
    with pytest.raises(ConversionError, match="found no such file, but ") as caught:
        convert(model_main, tmp_path / "m.pt")
    assert name in str(caught.value)


def test_a_skipped_part_says_what_is_there_instead(model_main, tmp_path):
    (model_main.parent / "validator.txt").rename(model_main.parent / "Validator.txt")
    skipped = convert(model_main, tmp_path / "m.pt").skipped
    assert any(line.reason.endswith("but Validator.txt is there") for line in skipped)


def test_numbers_that_no_face_has_are_refused(model_main, tmp_path):
    pdm = model_main.parent / "pdms" / "pdm.txt"
    text = pdm.read_text()
    pdm.write_text(text.replace(text.split()[-1], "1e15"))
    (tmp_path / "m.pt").write_text("older")
    with pytest.raises(ConversionError, match=r"numbers of a face model, found .*pdm\.variances"):
        convert(model_main, tmp_path / "m.pt")
    assert (tmp_path / "m.pt").read_text() == "older"


def test_lines_that_cannot_be_shown_do_not_make_a_bundle_that_cannot_be_loaded(model_main, tmp_path):
    with open(model_main, "ab") as file:
        file.write(b"\nUnknown\x1b[2J\xd4\xb0 file.txt\nLandmarkDetector_part eye/n\xd4\xb0one.txt left 0 0")
    report = convert(model_main, tmp_path / "m.pt")
    assert all(line.entry.isprintable() for line in report.skipped) and len(report.skipped) >= 3
    assert load_bundle(tmp_path / "m.pt")["skipped"][-1]["entry"]
