"""Where the description of a model is found."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from clnf_torch.converters import ConversionError, find_source
from clnf_torch.converters.locate import SUBFOLDERS, cache_folder

MAIN = "main_ceclm_general.txt"


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("LandmarkDetector cen.txt")
    return folder


def test_a_file_is_itself(tmp_path):
    put(tmp_path, "main_clnf_wild.txt")
    assert find_source(tmp_path / "main_clnf_wild.txt").main == tmp_path / "main_clnf_wild.txt"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["main_a.txt", MAIN, "main_ceclm_a.txt"], MAIN),
        (["main_a.txt", "main_ceclm_z.txt"], "main_ceclm_z.txt"),
        (["main_b.txt", "main_a.txt"], "main_a.txt"),
    ],
)
def test_the_best_of_several(tmp_path, names, chosen):
    source = find_source(put(tmp_path, *names))
    assert source.main.name == chosen
    assert sorted([chosen, *(path.name for path in source.others)]) == sorted(names)


@pytest.mark.parametrize("root", ["", "2.2.0", "OpenFaceModels/2.2.0"])
@pytest.mark.parametrize("inside", SUBFOLDERS)
def test_a_cache_or_a_source_tree(tmp_path, monkeypatch, root, inside):
    put(tmp_path / root / inside, MAIN)
    assert find_source(tmp_path).main == tmp_path / root / inside / MAIN
    monkeypatch.setenv("OPENFACE_MODELS_DIR", str(tmp_path))
    assert find_source().main == tmp_path / root / inside / MAIN


@pytest.mark.parametrize(
    ("platform", "variable", "value", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "cache", "cache"),
        ("linux", "XDG_CACHE_HOME", "", "home/.cache"),
        ("darwin", "HOME", "home", "home/Library/Caches"),
        ("win32", "LOCALAPPDATA", "local", "local"),
    ],
)
def test_the_usual_place(tmp_path, monkeypatch, platform, variable, value, expected):
    monkeypatch.delenv("OPENFACE_MODELS_DIR", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv(variable, str(tmp_path / value) if value else "")
    assert cache_folder() == tmp_path / expected / "OpenFaceModels" / "2.2.0"
    model = cache_folder() / "originals/lib/local/LandmarkDetector/model"
    with pytest.raises(ConversionError, match="no such folder; name OpenFace's model directory"):
        find_source()
    put(model, MAIN)
    assert find_source().main == model / MAIN


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "an empty folder"),
        (["cen_patches_0.25_of.dat", "pdm.txt"], "CEN files without a description"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
    ],
)
def test_folders_without_a_model(tmp_path, names, found):
    with pytest.raises(ConversionError, match=f"a model directory with a main_.*found {found}"):
        find_source(put(tmp_path, *names))


def test_what_is_no_source(tmp_path):
    put(tmp_path, "cen_patches_0.25_of.dat")
    with pytest.raises(ConversionError, match="no such file or folder"):
        find_source(tmp_path / "nowhere")
    with pytest.raises(ConversionError, match=r"a file cen_patches_0.25_of\.dat"):
        find_source(tmp_path / "cen_patches_0.25_of.dat")


def test_a_folder_inside_a_folder_of_its_name_is_named(tmp_path):
    put(tmp_path / "zip" / "zip" / "LandmarkDetector", "main_clnf_wild.txt", MAIN)
    with pytest.raises(ConversionError, match=f"found none, but zip/LandmarkDetector/{MAIN}"):
        find_source(tmp_path / "zip")


@pytest.mark.parametrize("name", ["main_ceclm_general (1).txt", "Main_CECLM_general.txt", f"{MAIN}?dl=1"])
def test_a_description_under_the_name_of_a_download_is_named(tmp_path, name):
    put(tmp_path, name)
    with pytest.raises(ConversionError, match=f"but {re.escape(name)};"):
        find_source(tmp_path / MAIN)


def test_in_a_folder_it_is_found_or_named(tmp_path):
    put(tmp_path, f"{MAIN}?dl=1")
    with pytest.raises(ConversionError, match=rf"found none, but {MAIN}\?dl=1"):
        find_source(tmp_path)
    assert find_source(put(tmp_path / "other", "main_ceclm_general (1).txt")).main.name == "main_ceclm_general (1).txt"
