"""The documentation is true: examples run, tables are complete, every public name is there, and no link is broken."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
import typer

import clnf_torch
from clnf_torch.cli.main import app
from clnf_torch.converters import convert
from clnf_torch.files.archive import save_archive
from clnf_torch.measures.face_measures import FaceMeasures
from clnf_torch.models.bundle import load_bundle
from tests.export.tables import make_table, names_of
from tests.media.videos import moving, write_video
from tests.mtcnns import make_mtcnn_record
from tests.test_architecture import parsed

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PACKAGES = (
    "geometry", "models", "fitting", "detection", "measures", "pipeline", "pen_marks", "tracking", "quality", "export",
    "training", "media", "drawing", "report", "faces", "distributed", "files",
)  # fmt: skip


# Characters of a page of the site: more is slow to open and to search
LARGEST_PAGE = 200_000


def guide(name: str) -> str:
    """A page of the guide."""
    return (DOCS / "guide" / f"{name}.md").read_text(encoding="utf-8")


def guides_with_code() -> list[str]:
    """Names of the pages that have examples in Python."""
    names = sorted(path.stem for path in (DOCS / "guide").glob("*.md"))
    return [name for name in names if CODE.search(guide(name))]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take longer over small examples than one alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def desk(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples ask for: a bundle with a face detector, images, and a video."""
    folder = tmp_path_factory.mktemp("desk")
    convert(golden_dir / "free_model", folder / "free.pt")
    save_archive({**load_bundle(folder / "free.pt"), "face_detector": make_mtcnn_record()}, folder / "openface.pt")
    shutil.copy(DOCS / "images" / "astronaut.jpg", folder / "photo.jpg")
    write_video(folder / "clip.mp4", moving(folder / "photo.jpg", 3))
    cv2.imwrite(str(folder / "face.jpg"), cv2.imread(str(golden_dir / "free_model" / "image.png")))
    return folder


@pytest.mark.parametrize("name", guides_with_code())
def test_examples_run_one_after_the_other(name, desk, one_thread, monkeypatch):
    text = guide(name)
    if "torch.compile" in text and torch.__version__ < (2, 5):
        pytest.skip("torch 2.4 cannot trace functions in contexts")
    monkeypatch.chdir(desk)
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        for block in CODE.finditer(text):
            lines_before = "\n" * text[: block.start(1)].count("\n")  # errors name the line of the page
            exec(compile(lines_before + block.group(1), f"{name}.md", "exec"), names)
    assert isinstance(names["detector"], clnf_torch.LandmarkDetector)


def test_every_oddity_of_openface_is_listed():
    files = [*(ROOT / "clnf_torch").rglob("*.py"), *(ROOT / "converters").rglob("*.py")]
    odd = {str(file.relative_to(ROOT)) for file in files if "OpenFace:" in file.read_text(encoding="utf-8")}
    named = set(re.findall(r"`((?:clnf_torch|converters)/\S+\.py)`", guide("differences")))
    assert odd - named == set(), "add their oddities to docs/guide/differences.md"
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def listed_columns(text: str) -> Iterator[str]:
    """Column names in the first cells of a page's tables: single ones, and ranges such as `x_0` to `x_67`."""
    for cell in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE):
        for stem, first, last in re.findall(r"`(\w+?)(\d*)`(?: to `\w+?(\d+)`)?", cell):
            yield from (f"{stem}{number}" for number in range(int(first), int(last) + 1)) if last else [stem + first]


def test_every_column_is_listed_in_order():
    table = make_table(2, likelihoods=torch.zeros(2, 68), errors=torch.zeros(2, 68), image=("a.png", "b.png"))
    rows = guide("columns").partition("## Which row is valid")[0]
    assert list(listed_columns(rows)) == names_of(table)


def test_every_measure_is_defined():
    rows = guide("measures").partition("## Repeatability")[0]
    found = re.findall(r"`(\w+_(?:mm|deg))`", "".join(re.findall(r"^\| (.*?) \|", rows, re.MULTILINE)))
    assert sorted(found) == sorted(FaceMeasures.columns())


COMMANDS = {
    "convert": ("convert", "export", "info"),
    "detect": ("detect", "fit"),
    "track": ("track",),
    "openface": ("openface",),
    "measures": ("measure",),
    "repair": ("repair",),
    "report": ("report",),
    "evaluate": ("evaluate",),
    "train": ("train model", "train retrain", "train free", "train eraser"),
    "train_cen": ("train cen",),
    "finetune": ("train finetune",),
    "render": ("train render", "train eyes"),
}


def options_of(command: str) -> set[str]:
    """The options of a command, such as "detect" or "train model", by their long names."""
    found = typer.main.get_command(app)
    for word in command.split():
        found = found.commands[word]
    params = found.params
    return {name for param in params for name in (*param.opts, *param.secondary_opts) if name.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_explained_and_exist(name):
    named = set(re.findall(r"--[a-z][a-z-]+", guide(name)))
    known = set().union(*map(options_of, COMMANDS[name]))
    assert named - known == set(), "there are no such options"
    assert known - named - {"--help", "--output"} == set(), "say what these options do"  # --output is shown as -o


def test_packages_are_called_what_they_are():
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "clnf_torch").rglob("__init__.py")]
    image = re.compile(r"\b(houses?|floors?|wings?|doors?|rooms?)\b", re.IGNORECASE)
    assert {str(page.relative_to(ROOT)) for page in pages if image.search(page.read_text(encoding="utf-8"))} == set()


def test_the_public_api_is_listed_in_full():
    text = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\[clnf_torch\.(\w+)\]", text)) == set(clnf_torch.__all__)


def public_names() -> Iterator[str]:
    """Public functions, classes and their methods, by the names they are imported by; kernels are for no caller."""
    roots = {f"clnf_torch.{package}": ROOT / "clnf_torch" / package for package in PACKAGES}
    for package, folder in {**roots, "clnf_torch.converters": ROOT / "converters"}.items():
        for file in folder.rglob("*.py"):
            if not file.name.startswith("_") and "kernels" not in file.parts:
                module = ".".join([package, *file.relative_to(folder).with_suffix("").parts])
                yield from defined_in(parsed(file.read_text(encoding="utf-8")), module)


def defined_in(node: ast.AST, name: str) -> Iterator[str]:
    """Public names that a module or a class defines."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and not child.name.startswith("_"):
            yield f"{name}.{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from defined_in(child, f"{name}.{child.name}")


def test_every_module_has_a_page_of_the_reference():
    """The hook that makes them, without the generator of the site."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "tools" / "reference.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")]
    packages = {package for page in pages for package in hook.PACKAGE.findall(page)}
    assert packages == {*PACKAGES, "converters"}
    modules = {name: text for package in packages for name, text in hook.modules_of(package).items()}
    named = {name.removeprefix("clnf_torch.").rpartition(".")[0] for name in public_names()}
    in_files = {name for name in named if not name.rpartition(".")[2][:1].isupper()}
    assert in_files <= modules.keys() and all(modules.values())


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_holds_every_name(tmp_path):
    if not all(map(importlib.util.find_spec, ("mkdocs", "material", "mkdocstrings"))):
        pytest.skip("mkdocs is not installed: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr[-2000:]
    entries = zlib.decompress((tmp_path / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]).decode().splitlines()
    described = {entry.split()[0] for entry in entries}
    assert set(public_names()) - described == set()
    pages = {file.stem: file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.html")}
    assert {name for name, text in pages.items() if len(text) > LARGEST_PAGE} == set()
    # Included: tests/agreement/README.md, and the script
    assert "tests/golden" in pages["accuracy"]
    assert "read_frames" in pages["repair"]
    assert {name for name, text in pages.items() if re.search(r"<(script|link|img)[^>]+https?://", text)} == set()
