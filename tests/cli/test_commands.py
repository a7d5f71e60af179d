"""Commands apart from what they run."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer

from clnf_torch.cli.main import app, train


def commands():
    """The functions of all commands but the alias."""
    registered = [*app.registered_commands, *train.registered_commands]
    return [one.callback for one in registered if one.callback.__name__ != "fit"]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.__name__)
def test_what_runs_takes_the_options(command):
    home = command.__wrapped__.__module__.replace(".commands.", ".runs.")
    run = getattr(importlib.import_module(home), command.__name__)
    taken, given = (set(inspect.signature(one).parameters) for one in (run, command))
    assert taken - {"threads"} == given - {"threads"} and taken <= given


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.__name__)
def test_help_shows_two_examples(clnf_torch_cli, command):
    group = ["train"] if command in {one.callback for one in train.registered_commands} else []
    lines = clnf_torch_cli(*group, command.__name__, "--help").output.splitlines()
    begin = lines.index("  Examples:")
    shown = [line.strip() for line in lines[begin + 1 : begin + 3]]
    assert all(line.startswith(" ".join(["clnf-torch", *group, command.__name__, ""])) for line in shown)


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.__name__)
def test_examples_are_command_lines_that_can_be_parsed(command):
    group = train if command in {one.callback for one in train.registered_commands} else app
    parser = typer.main.get_command(group).commands[command.__name__]
    examples = [line for line in inspect.getdoc(command).splitlines() if line.startswith("  clnf-torch")]
    for example in examples:
        words = example.split()[3 if group is train else 2 :]
        parser.make_context(command.__name__, words)


def test_cycles_are_looked_for_among_new_objects_alone():
    """Not among those of PyTorch's modules: neither while they are loaded, nor later."""
    code = """
import gc, sys
from clnf_torch.cli import main
from clnf_torch.cli.runs import info
info.info = lambda **options: print(gc.isenabled(), gc.get_freeze_count() > 100_000)
sys.argv = ["clnf-torch", "info"]
main.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_shells_complete_commands():
    asked = {"COMP_WORDS": "clnf-torch tr", "COMP_CWORD": "1", "_CLNF_TORCH_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [Path(sys.executable).with_name("clnf-torch")], env={**os.environ, **asked}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["track", "train"]


def test_threads_are_those_asked_for(clnf_torch_cli, tmp_path):
    before = torch.get_num_threads()
    try:
        clnf_torch_cli("detect", tmp_path / "missing.jpg", "--threads", before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_working_directory_that_is_gone_is_refused_in_a_line(tmp_path):
    code = "import os, sys; os.rmdir(os.getcwd()); from clnf_torch.cli.main import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code, "info"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == "clnf-torch: error: the working directory no longer exists; change into another one\n"


def test_a_closed_stdout_takes_no_results(tmp_path):
    (photo := tmp_path / "a.png").touch()
    code = "import sys; sys.stdout = None; from clnf_torch.cli.main import main; main()"
    words = [sys.executable, "-c", code, "detect", str(photo), "--csv", "-"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "stdout, where results would go, is closed" in done.stderr
