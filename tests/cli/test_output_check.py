"""Outputs that would cost an input or one another are refused before anything is read, in a line, with nothing made."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer

from clnf_torch.cli import output_check
from clnf_torch.cli.annotated_faces import annotation_files
from clnf_torch.cli.output_check import Input, Output, case_matters, check_outputs, model_files


def contents(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder, links by what they lead to."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


@pytest.fixture
def refused(capsys):
    """Refuses outputs of inputs, and returns the line."""

    def check(inputs: list[Input], *outputs: Output) -> str:
        with pytest.raises(typer.Exit) as caught:
            check_outputs(inputs, outputs)
        (line,) = capsys.readouterr().err.splitlines()
        assert caught.value.exit_code == 2
        assert len(line) <= 300 + len("clnf-torch: error: ") and line.isprintable()
        return line

    return check


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """A folder, which is the current one, of everything that commands read."""
    folder = tmp_path / "files"
    (folder / "frames").mkdir(parents=True)
    for name in (
        "v.mp4",
        "w.mp4",
        "p.png",
        "m.pt",
        "b.json",
        "t.csv",
        "frames/1.png",
        "frames/1.pts",
        "frames/main.txt",
    ):
        (folder / name).write_bytes(name.encode())
    (folder / "link").symlink_to(folder / "v.mp4")
    (folder / "folder").symlink_to(folder / "frames")
    (folder / "next").symlink_to(folder / "new.csv")
    os.link(folder / "v.mp4", folder / "twin")
    os.link(folder / "frames/1.png", folder / "twin.png")
    monkeypatch.chdir(folder)
    return folder


FREE = ["--model", "m.pt"]
COMMANDS = {
    "detect, its image": ["detect", "p.png", "--csv", "p.png", *FREE],
    "detect, its model": ["detect", "p.png", "--csv", "m.pt", *FREE],
    "detect, its boxes": ["detect", "p.png", "--boxes", "b.json", "--json", "b.json", *FREE],
    "detect, one name twice": ["detect", "p.png", "--csv", "o.x", "--json", "o.x", *FREE],
    "detect, a drawing over an image": ["detect", "p.png", "a/p_landmarks.png", "--draw", "a", *FREE],
    "detect, a drawing over a table": ["detect", "p.png", "--draw", "a", "--csv", "a/p_landmarks.png", *FREE],
    "detect, draw into a file": ["detect", "p.png", "--draw", "p.png", *FREE],
    "detect, a folder as a table": ["detect", "p.png", "--csv", "frames", *FREE],
    "fit, its image": ["fit", "p.png", "--box", "1", "1", "9", "9", "--csv", "./p.png", *FREE],
    "track, its video": ["track", "v.mp4", "--draw", "v.mp4", *FREE],
    "track, its video by the way": ["track", "v.mp4", "--draw", "frames/../v.mp4", *FREE],
    "track, its video by its full name": ["track", "v.mp4", "--json", "{}/v.mp4", *FREE],
    "track, a link to it": ["track", "v.mp4", "--csv", "link", "--draw", "d.mp4", *FREE],
    "track, given by a link": ["track", "link", "--draw", "v.mp4", *FREE],
    "track, a hard link to it": ["track", "v.mp4", "--csv", "twin", *FREE],
    "track, its model": ["track", "v.mp4", "--csv", "m.pt", *FREE],
    "track, a frame": ["track", "frames", "--csv", "frames/1.png", *FREE],
    "track, a hard link to a frame": ["track", "folder", "--csv", "twin.png", *FREE],
    "track, another video's file": ["track", "v.mp4", "out/v.csv", "--csv", "out", *FREE],
    "track, a drawing over a video": ["track", "w.avi", "w.mp4", "--draw", ".", *FREE],
    "track, what is written on the way": ["track", "d.mp4.partial", "--draw", "d.mp4", *FREE],
    "track, two names for one new file": ["track", "v.mp4", "--csv", "next", "--json", "new.csv", *FREE],
    "track, below a file": ["track", "v.mp4", "--csv", "p.png/t.csv", *FREE],
    "track, deeper below a file": ["track", "v.mp4", "--csv", "p.png/no/t.csv", *FREE],
    "track, a file as a folder": ["track", "v.mp4", "w.mp4", "--csv", "twin", *FREE],
    "track, a device": ["track", "v.mp4", "--csv", "/dev/null.csv/../null", *FREE],
    "track, a long name": ["track", "v.mp4", "--csv", "x" * 250 + ".csv", *FREE],
    "track, a long name in a missing folder": ["track", "v.mp4", "--csv", "no/" + "x" * 250 + ".csv", *FREE],
    "track, a long name of a missing folder": ["track", "v.mp4", "--csv", "no/" + "x" * 256, *FREE],
    "detect, a drawing of a long name": ["detect", "x" * 240 + ".png", "p.png", "--draw", "no", *FREE],
    "track, what is written at last": ["track", "d.mp4.partial.new", "--draw", "d.mp4", *FREE],
    "repair, the state over its table": ["repair", "v.mp4", "--landmarks", "o.csv.state", "--csv", "o.csv", *FREE],
    "repair, its table": ["repair", "v.mp4", "--landmarks", "t.csv", "--csv", "t.csv", *FREE],
    "repair, its video": ["repair", "v.mp4", "--landmarks", "t.csv", "--csv", "v.mp4", *FREE],
    "repair, a folder": ["repair", "v.mp4", "--landmarks", "t.csv", "--csv", "frames", *FREE],
    "evaluate, its model": ["evaluate", "--data", "frames", "--json", "m.pt", *FREE],
    "evaluate, an annotation": ["evaluate", "--data", "frames", "--errors", "frames/1.pts", *FREE],
    "evaluate, an image": ["evaluate", "--data", "frames", "--errors", "folder/1.png", *FREE],
    "evaluate, its boxes": ["evaluate", "--data", "frames", "--boxes", "b.json", "--json", "b.json", *FREE],
    "evaluate, one name twice": ["evaluate", "--data", "frames", "--json", "o", "--errors", "./o", *FREE],
    "convert, its source": ["convert", "frames/main.txt", "-o", "frames/main.txt"],
    "convert, a file of its source": ["convert", "frames", "-o", "frames/main.txt"],
    "convert, a file beside its source": ["convert", "frames/main.txt", "-o", "frames/1.pts"],
    "export, its bundle": ["export", "m.pt", "m.pt"],
    "train model, an annotation": ["train", "model", "frames", "-o", "frames/1.pts", "--work", "work"],
    "train model, its prior": ["train", "model", "frames", "-o", "m.pt", "--prior", "m.pt", "--work", "work"],
    "train model, its detector": ["train", "model", "frames", "-o", "m.pt", "--detector", "m.pt", "--work", "work"],
    "train model, a checkpoint": ["train", "model", "frames", "-o", "work/scale_0.pt", "--work", "work"],
    "train model, work in a file": ["train", "model", "frames", "-o", "new.pt", "--work", "m.pt"],
    "train finetune, its model": ["train", "finetune", "frames", "-o", "m.pt", *FREE],
    "train finetune, its images": ["train", "finetune", "frames", "-o", "frames/1.png", *FREE],
    "train finetune, a folder": ["train", "finetune", "frames", "-o", "work", "--work", "work", *FREE],
    "train cen, its shape": ["train", "cen", "frames", "-o", "m.pt", "--shape", "m.pt"],
}  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_refuses_before_it_reads(clnf_torch_cli, files, words):
    before = contents(files)
    done = clnf_torch_cli(*(word.format(files) for word in words))
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 2, line
    assert line.startswith(tuple(f"clnf-torch: error: {what}" for what in ("-", "DIR ", "the state "))), line
    assert len(line) <= 300 and not done.stdout
    assert contents(files) == before


def test_the_line_names_what_would_be_lost(refused, files):
    line = refused([Input(files / "v.mp4")], Output("--csv", Path("link")))
    assert line == f"clnf-torch: error: --csv link: would overwrite the input {files}/v.mp4; give another name"
    line = refused([], Output("--csv", Path("o")), Output("--json", Path("./frames/../o")))
    assert "--csv o and --json frames/../o: both would write one file" in line


@pytest.mark.parametrize("folder", [".", "frames", "new/deeper"])
def test_outputs_of_their_own_pass(files, folder):
    outputs = [Output("--csv", Path(folder) / "older.csv"), Output("--draw", Path(folder), folder=True)]
    if folder != "new/deeper":
        outputs[0].path.write_text("an older result, to be replaced")
    before = contents(files)
    check_outputs([Input(files / "frames"), Input(files / "v.mp4"), Input(files / "missing")], outputs)
    assert contents(files) == before


def test_folders_of_files_are_made_where_they_are_missing(refused, files):
    outputs = Output("--csv", Path("no/deeper/o.csv")), Output("--json", Path("v.mp4"))
    refused([Input(files / "v.mp4")], *outputs)
    assert not (files / "no").exists()
    check_outputs([Input(files / "v.mp4")], outputs[:1])
    assert (files / "no" / "deeper").is_dir()


def test_a_folder_that_is_left_again_is_made_too(files):
    """The system finds no ``missing/..`` where nothing is called so."""
    check_outputs([], [Output("--out", Path("missing/../o.csv"))])
    Path("missing/../o.csv").write_text("can be written")


def test_behind_a_link_the_folder_of_its_target_counts(refused, files, monkeypatch):
    (files / "o.csv").symlink_to(files / "no" / "deeper" / "t.csv")
    (files / "frames" / "p.csv").symlink_to(files / "p.csv")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != files / "frames")
    check_outputs([], [Output("--csv", Path("o.csv")), Output("--csv", Path("frames/p.csv"))])
    assert (files / "no" / "deeper").is_dir()
    (files / "q.csv").symlink_to(files / "frames" / "new.csv")
    assert "cannot be written to" in refused([], Output("--csv", Path("q.csv")))


def test_one_folder_may_hold_outputs_of_several_kinds(files):
    check_outputs([], [Output("--csv", Path("new"), folder=True), Output("--json", Path("new"), folder=True)])


def test_where_letter_cases_are_one_names_are_too(refused, files, monkeypatch):
    upper, lower = Output("--csv", Path("É.csv")), Output("--json", Path(unicodedata.normalize("NFD", "é.CSV")))
    check_outputs([], [upper, lower])
    monkeypatch.setattr(output_check, "case_matters", lambda _: False)
    assert "both would write one file" in refused([], upper, lower)


def test_a_disk_is_asked_whether_cases_matter(tmp_path, monkeypatch):
    (tmp_path / "a.txt").touch()
    assert case_matters(str(tmp_path)) and case_matters(str(tmp_path / "new"))
    os.link(tmp_path / "a.txt", tmp_path / "A.TXT")
    assert not case_matters(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_cannot_be_written_is_refused(refused, files):
    (files / "t.csv").chmod(0o400)
    assert "write-protected" in refused([], Output("--csv", files / "t.csv"))
    (files / "frames").chmod(0o500)
    assert "cannot be written to" in refused([], Output("--csv", files / "frames" / "new.csv"))


def test_a_folder_that_refuses_is_named(refused, files, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != files / "frames")
    assert "cannot be written to" in refused([], Output("--csv", Path("frames/new.csv")))
    assert "cannot be written to" in refused([], Output("--draw", Path("frames/new/deeper"), folder=True))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path("t.csv"))
    assert "write-protected" in refused([], Output("--csv", Path("t.csv")))


def test_a_pipe_is_no_place_for_a_file(refused, files):
    os.mkfifo(files / "pipe")
    assert "found a pipe" in refused([], Output("--csv", Path("pipe")))


@contextlib.contextmanager
def redirected(stream: int, path: Path) -> Iterator[None]:
    """Lets a stream be appended to a file."""
    before, file = os.dup(stream), os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(file, stream)
    try:
        yield
    finally:
        os.dup2(before, stream)
        os.close(before)
        os.close(file)


@pytest.mark.parametrize(("stream", "name"), [(1, "stdout"), (2, "stderr")])
@pytest.mark.parametrize("path", ["v.mp4", "twin", "frames/1.png"])
def test_a_stream_into_an_input_is_refused(refused, files, stream, name, path):
    with redirected(stream, files / path):
        line = refused([Input(Path("frames")), Input(Path("link"))])
    assert f"{name} goes into the input " in line and "redirect it elsewhere" in line


@pytest.mark.parametrize("path", ["o.csv", "o.csv.partial"])
def test_a_stream_into_an_output_is_refused(refused, files, path):
    with redirected(1, files / path):
        assert "--csv o.csv: stdout goes into this file too" in refused([], Output("--csv", Path("o.csv")))
    with redirected(1, files / "log"), redirected(2, files / "log"):
        check_outputs([Input(Path("v.mp4"))], [Output("--csv", Path("o.csv"))])


@pytest.mark.parametrize("command", ["track", "repair", "detect"])
def test_another_file_called_manifest_is_refused_at_once(clnf_torch_cli, files, command):
    (files / "manifest.json").write_text('{"name": "an app"}')
    before = contents(files)
    given = {"track": ["v.mp4"], "repair": ["v.mp4", "--landmarks", "t.csv"], "detect": ["p.png", "p.png"]}
    done = clnf_torch_cli(command, *given[command], "--csv", "o.csv", *FREE)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 2 and "manifest.json: expected a manifest of clnf-torch, found another file" in line
    assert contents(files) == before


def test_annotated_images_are_inputs_wherever_they_lie(refused, files):
    (files / "data").mkdir()
    landmarks = np.arange(136, dtype=np.float32).reshape(1, 68, 2)
    np.savez(files / "data" / "landmarks.npz", names=np.array(["../p.png"]), landmarks=landmarks)
    (files / "data" / "curve.png").touch()
    given = [Input(files / "data", annotation_files)]
    check_outputs(given, [Output("--curve", files / "data" / "curve.png")])
    assert "would overwrite the input" in refused(given, Output("--curve", files / "p.png"))
    assert "would overwrite the input" in refused(given, Output("--json", files / "data" / "landmarks.npz"))


def test_images_beside_capital_annotations_are_inputs(refused, files):
    (files / "data").mkdir()
    for name in ("anna.PTS", "anna.JPG", "beside.png"):
        (files / "data" / name).touch()
    given = [Input(files / "data", annotation_files)]
    check_outputs(given, [Output("--curve", files / "data" / "beside.png")])
    assert "would overwrite the input" in refused(given, Output("--curve", files / "data" / "anna.JPG"))


def test_a_bundle_may_replace_an_older_one_beside_its_source(files):
    (files / "frames" / "old.pt").touch()
    check_outputs([Input(files / "frames", model_files)], [Output("--output", files / "frames" / "old.pt")])
