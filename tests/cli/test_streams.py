"""What becomes of a run whose streams are closed, full, or gone with their terminal: each is a process of its own."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "clnf_torch"]


@pytest.fixture
def table(tmp_path) -> Path:
    """Two rows that can be measured."""
    names = [f"{axis}_{point}" for axis in "XYZ" for point in range(68)]
    pose = [f"pose_{name}" for name in ("Tx", "Ty", "Tz", "Rx", "Ry", "Rz")]
    rows = [[1, *range(204), 0, 0, 500, 0, 0, 0], [2, *range(204), 0, 0, 500, 0, 0, 0]]
    lines = [["frame", *names, *pose], *rows]
    (path := tmp_path / "t.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return path


def in_shell(words: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of the shell in which ``"$@"`` is the program and its arguments."""
    command = ["sh", "-c", words, "sh", *PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("measure", "t.csv", "--out", "-"), b"give --out a file"),
        (("repair", "v", "--landmarks", "t.csv", "--csv", "-"), b"give --csv a file"),
        (("info",), b"leave it open"),
        (("--version",), b"leave it open"),
    ],
    ids=lambda value: value[0],
)
def test_no_result_is_printed_on_a_closed_stdout(table, monkeypatch, words, remedy):
    monkeypatch.chdir(table.parent)
    Path("v").mkdir()
    done = in_shell('"$@" >&-', *words)
    assert done.returncode == 2 and b"stdout, where results would go, is closed" in done.stderr, done.stderr
    assert remedy in b" ".join(done.stderr.split())


def test_a_file_is_written_whatever_is_closed(table):
    out = table.with_name("out.csv")
    assert in_shell('"$@" <&- >&- 2>&-', "measure", table, "--out", out).returncode == 0
    assert len(out.read_bytes().splitlines()) == 3


def test_a_closed_stderr_puts_nothing_among_the_results(table):
    wanted, done = (
        in_shell('"$@"', "measure", table, "--out", "-"),
        in_shell('"$@" 2>&-', "measure", table, "--out", "-"),
    )
    assert wanted.stdout and done.stdout == wanted.stdout and done.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is full")
def test_a_full_stderr_ends_no_run(table):
    out = table.with_name("out.csv")
    assert in_shell('"$@" 2>/dev/full', "measure", table, "--out", out).returncode == 0
    assert out.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is full")
@pytest.mark.parametrize("words", [("measure", "t.csv", "--out", "-"), ("--version",), ("--help",)], ids=lambda w: w[0])
def test_a_full_stdout_is_named(table, monkeypatch, words):
    monkeypatch.chdir(table.parent)
    done = in_shell('"$@" >/dev/full', *words)
    assert done.returncode == 1
    assert done.stderr.endswith(f"clnf-torch: error: stdout: {os.strerror(errno.ENOSPC)}\n".encode())
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr


@pytest.mark.parametrize("words", [("measure", "t.csv", "--out", "-"), ("info",), ("--version",)], ids=lambda w: w[0])
def test_a_pipe_that_nobody_reads_ends_quietly(table, monkeypatch, words):
    """As SIGPIPE ends other programs, and not by the code of a failure."""
    monkeypatch.chdir(table.parent)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PROGRAM, *words], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == 141 and b"error" not in done.stderr and b"Exception" not in done.stderr, done.stderr


def test_a_terminal_that_is_gone_ends_no_run(table):
    ours, theirs = pty.openpty()
    out = table.with_name("out.csv")
    with subprocess.Popen([*PROGRAM, "measure", table, "--out", out], stderr=theirs) as process:
        os.close(theirs)
        os.close(ours)
    assert process.returncode == 0 and out.exists()


def test_tables_on_stdout_are_utf_8_whatever_the_terminal_has(table):
    text = table.read_text()
    table.write_text(text.replace("frame", "image").replace("\n1,", "\nmüde.png,"), encoding="utf-8")
    done = in_shell('"$@"', "measure", table, "--out", "-", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "müde.png," in done.stdout.decode("utf-8")


def test_a_closed_stdin_holds_no_video(tmp_path):
    done = in_shell('"$@" <&-', "track", "-", "--csv", tmp_path / "out.csv")
    assert done.returncode == 1 and b"stdin is closed" in done.stderr, done.stderr


@pytest.mark.parametrize(("words", "place"), [(("info", ""), b"behind info"), (("",), b"at the beginning")])
def test_an_empty_argument_is_not_the_current_folder(words, place):
    done = in_shell('"$@"', *words)
    assert done.returncode == 2 and not done.stdout
    assert b"found an empty argument " + place in b" ".join(done.stderr.split())
