"""Exported files are the source files byte for byte; without that memory they are valid files that compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clnf_torch.converters import ConversionError, convert, export
from clnf_torch.converters.openface.cen import read_cen
from clnf_torch.files.archive import save_archive
from tests.converters.evaluate import from_bundle, from_file, visible_slots
from tests.converters.model_directory import write_model
from tests.converters.mtcnn_files import write_mtcnn
from tests.converters.openface_files import POINTS
from tests.models.patch_experts.template_factories import make_ccnf
from tests.models.test_families import unet_model


def export_all(folder, out_dir, count):
    files = export(folder / "m.pt", out_dir / "back")
    assert len(files) == count and sorted(files) == sorted((out_dir / "back").iterdir())
    return files


@pytest.mark.parametrize("mixed", [True, False])
def test_small_files_come_back(tmp_path, mixed):
    main = write_model(tmp_path / "model", mixed=mixed)
    convert(main, tmp_path / "m.pt")
    for path in export_all(tmp_path, tmp_path, 2):
        assert path.read_bytes() == (main.parent / path.name).read_bytes()


def test_free_files_come_back(free_model, tmp_path):
    convert(free_model, tmp_path / "m.pt")
    for path in export_all(tmp_path, tmp_path, 4):
        assert path.read_bytes() == (free_model / path.name).read_bytes()


def test_openface_files_come_back(openface_models, tmp_path):
    convert(openface_models, tmp_path / "m.pt")
    for path in export_all(tmp_path, tmp_path, 4):
        assert path.read_bytes() == (openface_models / "patch_experts" / path.name).read_bytes()


def forget(path, out):
    """The same model as if it had been trained here: no memory of any file."""
    bundle = torch.load(path, weights_only=True)
    for record in bundle["model"]["experts"]:
        del record["openface"]
    save_archive(bundle, out)


def test_half_comes_back_as_a_valid_file(model_main, tmp_path):
    convert(model_main, tmp_path / "m.pt", half=True)
    records = torch.load(tmp_path / "m.pt", weights_only=True)["model"]["experts"]
    for path, record in zip(export_all(tmp_path, tmp_path, 2), records, strict=True):
        source, back = (read_cen(p, POINTS) for p in (model_main.parent / path.name, path))
        assert np.array_equal(source.own, back.own) and source.shapes == back.shapes
        check_file_against_record(path, record)
        for a, b in zip(source.experts, back.experts, strict=True):
            assert [layer.bias.shape for layer in a.layers] == [layer.bias.shape for layer in b.layers]
            assert all((layer.weight.code, layer.bias.code) == (5, 5) for layer in b.layers)
            assert not b.layers[0].weight.read()[:, 0].any()


def test_a_trained_model_comes_out_as_valid_files(model_main, tmp_path):
    convert(model_main, tmp_path / "known.pt")
    forget(tmp_path / "known.pt", tmp_path / "m.pt")
    records = torch.load(tmp_path / "m.pt", weights_only=True)["model"]["experts"]
    files = export_all(tmp_path, tmp_path, 7)
    assert [path.name for path in files[:2]] == ["cen_patches_0.25_of.dat", "cen_patches_0.50_of.dat"]
    for path, record in zip(files[:2], records, strict=True):
        check_file_against_record(path, record)
        cen = read_cen(path, POINTS)
        assert np.array_equal(cen.own >= 0, cen.visible)  # mirrored experts are written out
        np.testing.assert_allclose(np.deg2rad(cen.view_centers), record["view_centers"], rtol=1e-15)


def test_an_exported_trained_model_converts_again(model_main, tmp_path):
    convert(model_main, tmp_path / "known.pt")
    forget(tmp_path / "known.pt", tmp_path / "m.pt")
    export(tmp_path / "m.pt", model_main.parent)
    convert(model_main, tmp_path / "again.pt")
    records = torch.load(tmp_path / "again.pt", weights_only=True)["model"]["experts"]
    for record in records:
        check_file_against_record(model_main.parent / record["openface"]["file"], record)


def test_an_exported_trained_model_is_complete(free_model, tmp_path):
    convert(free_model, tmp_path / "known.pt")
    bundle = torch.load(tmp_path / "known.pt", weights_only=True)
    model = bundle["model"]
    for record in model["experts"]:
        del record["openface"]
    views, rng = len(model["experts"][0]["visible"]), torch.Generator().manual_seed(2)
    numbers = torch.randn(3, views, generator=rng, dtype=torch.float64) * torch.tensor([[1.0], [1e-7], [1e6]])
    model["early_termination"] = dict(zip(("weights", "biases", "cutoffs"), numbers, strict=True))
    model["triangulations"] = [torch.randint(68, (9, 3), generator=rng) for _ in range(views)]
    save_archive(bundle, tmp_path / "m.pt")
    export(tmp_path / "m.pt", tmp_path / "back")
    report = convert(tmp_path / "back", tmp_path / "again.pt")
    again = torch.load(tmp_path / "again.pt", weights_only=True)["model"]
    assert report.main.name == "main_ceclm_general.txt" and not report.skipped
    for name in ("pdm", "early_termination"):
        for key, expected in model[name].items():
            assert torch.equal(again[name][key], expected)
    assert all(map(torch.equal, again["triangulations"], model["triangulations"]))
    for record, back in zip(model["experts"], again["experts"], strict=True):
        assert torch.equal(record["visible"], back["visible"]) and torch.equal(record["confidence"], back["confidence"])


def check_file_against_record(path, record):
    cen, rng = read_cen(path, POINTS), np.random.default_rng(3)
    for view, landmark in visible_slots(record):
        patch = rng.normal(size=(cen.support, cen.support))
        assert from_file(cen, view, landmark, patch) == pytest.approx(
            from_bundle(record, view, landmark, patch), rel=1e-6
        )


@pytest.mark.parametrize(("trained", "beside"), [(False, False), (True, False), (False, True)])
def test_a_bundle_is_not_written_over(model_main, tmp_path, trained, beside):
    convert(model_main, tmp_path / "known.pt")
    (back := tmp_path / "back").mkdir()
    bundle = back / ("pdm.txt" if trained else "cen_patches_0.50_of.dat")
    forget(tmp_path / "known.pt", bundle) if trained else (tmp_path / "known.pt").rename(bundle)
    content = bundle.read_bytes()
    with pytest.raises(ConversionError, match=r"found the bundle .*name another folder"):
        export(bundle, back, model_main.parent if beside else None)
    assert bundle.read_bytes() == content and list(back.iterdir()) == [bundle]


@pytest.mark.parametrize("name", ["../../evil.dat", "..", "", "a\\..\\evil.dat"])
def test_file_names_in_a_bundle_cannot_leave_the_folder(model_main, tmp_path, name):
    convert(model_main, tmp_path / "m.pt")
    bundle = torch.load(tmp_path / "m.pt", weights_only=True)
    bundle["model"]["experts"][0]["openface"]["file"] = name
    save_archive(bundle, tmp_path / "m.pt")
    export_all(tmp_path, tmp_path / "deep" / "er", 2)


def test_other_files_are_refused(tmp_path, model_main):
    torch.save({"format": "another"}, tmp_path / "other.pt")
    for path in (tmp_path / "none.pt", tmp_path / "other.pt", model_main):
        with pytest.raises(ConversionError, match="expected a bundle"):
            export(path, tmp_path / "back")


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda record: record.pop("visible"), r"experts\[0\]: expected a field 'visible'"),
        (lambda record: record.update(scale="coarse"), "expected a number from 0.001 to 100, found 'coarse'"),
        (
            lambda record: record.update(stacks=record["stacks"][:1]),
            r"experts\[0\].expert: expected numbers from -1 to",
        ),
        (lambda record: record["openface"].pop("sizes"), "KeyError"),
        (lambda record: record["openface"].update(file="cen_patches_0.50_of.dat"), "CEN experts of different names"),
    ],
)
def test_bundles_with_damaged_fields(model_main, tmp_path, damage, found):
    convert(model_main, tmp_path / "m.pt")
    bundle = torch.load(tmp_path / "m.pt", weights_only=True)
    damage(bundle["model"]["experts"][0])
    save_archive(bundle, tmp_path / "m.pt")
    with pytest.raises(ConversionError, match=found):
        export(tmp_path / "m.pt", tmp_path / "back")


@pytest.mark.parametrize(
    ("family", "found"),
    [
        ("ccnf", "found CCNF experts; name a bundle with CEN experts"),
        ("heatmap", "found HEATMAP experts; name a bundle with CEN experts"),
        ("repeat", "found experts of an earlier scale again; name"),
    ],
)
def test_other_experts_have_no_files(model_main, tmp_path, family, found):
    convert(model_main, tmp_path / "m.pt")
    bundle = torch.load(tmp_path / "m.pt", weights_only=True)
    others = {"ccnf": make_ccnf().to_record(), "heatmap": unet_model().experts_at(2).to_record()}
    bundle["model"]["experts"][1] = others.get(family, {"family": "repeat", "of": 0}) | {"family": family}
    save_archive(bundle, tmp_path / "m.pt")
    with pytest.raises(ConversionError, match=f"expected CEN experts, {found}"):
        export(tmp_path / "m.pt", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_folder_that_cannot_be_made(tmp_path, model_main):
    convert(model_main, tmp_path / "m.pt")
    with pytest.raises(ConversionError, match="expected a folder to write to"):
        export(tmp_path / "m.pt", model_main)


def tuned(bundle: dict[str, Any]) -> None:
    """Experts as fine-tuning leaves them: other numbers, without what the way back to the very files needs."""
    bundle["model"]["pdm"]["mean"] = bundle["model"]["pdm"]["mean"].float().double()
    for record in bundle["model"]["experts"]:
        record.pop("openface")
        record["stacks"][0]["biases"][0] += 0.25
    bundle["sources"].append({"name": "12 faces"})


def test_with_its_source_a_tuned_model_is_a_complete_directory(model_main, tmp_path):
    write_mtcnn(model_main.parent)
    convert(model_main, tmp_path / "known.pt")
    bundle = torch.load(tmp_path / "known.pt", weights_only=True)
    tuned(bundle)
    save_archive(bundle, tmp_path / "m.pt")
    files = export(tmp_path / "m.pt", tmp_path / "back", model_main.parent)
    names = {path.relative_to(tmp_path / "back").as_posix() for path in files}
    assert {"validator.txt", "eye/main.txt", "pdms/pdm.txt", model_main.name} <= names and all(map(Path.is_file, files))
    for name in names:
        same = (tmp_path / "back" / name).read_bytes() == (model_main.parent / name).read_bytes()
        assert same != name.startswith("cen_patches"), name
    report = convert(tmp_path / "back", tmp_path / "again.pt")
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert (
        [line.entry for line in report.skipped] == ["FaceDetConversion haar.txt"]
        and again["validator"] is not None
        and len(again["model"]["parts"]) == 1
    )
    assert again["face_detector"] is not None
    for path, record in zip(report.scales, bundle["model"]["experts"], strict=True):
        check_file_against_record(tmp_path / "back" / f"cen_patches_{path:.2f}_of.dat", record)


def test_a_converted_model_comes_back_whole(model_main, tmp_path):
    convert(model_main, tmp_path / "m.pt")
    for path in export(tmp_path / "m.pt", tmp_path / "back", model_main):
        assert path.read_bytes() == (model_main.parent / path.relative_to(tmp_path / "back")).read_bytes()


@pytest.mark.parametrize("damage", ["changed", "missing", "outside", "itself"])
def test_another_source_is_refused(model_main, tmp_path, damage):
    convert(model_main, tmp_path / "m.pt")
    validator, out = model_main.parent / "validator.txt", tmp_path / "back"
    if damage == "changed":
        validator.write_bytes(validator.read_bytes() + b" ")
    elif damage == "missing":
        validator.unlink()
    elif damage == "outside":
        bundle = torch.load(tmp_path / "m.pt", weights_only=True)
        bundle["sources"][1]["name"] = "../m.pt"
        save_archive(bundle, tmp_path / "m.pt")
    else:
        out = model_main.parent
    with pytest.raises(
        ConversionError, match=r"expected a f(ile that the bundle was made from|older for the files), found"
    ):
        export(tmp_path / "m.pt", out, model_main)
    assert not (tmp_path / "back").exists()
