"""The README's Python runs as it stands there, and the program has the commands and options that are told of."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest
import torch
import typer

from clnf_torch.cli.main import app
from clnf_torch.converters import convert

ROOT = Path(__file__).resolve().parent.parent


def examples() -> list[str]:
    """The README's pieces of Python."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_four_lines_to_the_first_landmarks(golden_dir, capsys):
    image = cv2.imread(str(golden_dir / "free_model" / "image.png"))[:, :, ::-1]
    names: dict[str, object] = {"frames": torch.from_numpy(image.transpose(2, 0, 1).copy())[None]}
    exec(examples()[0], names)
    assert names["result"].landmarks.shape[1:] == (68, 2)
    assert capsys.readouterr().out.startswith("tensor([")


def test_a_image_and_openfaces_model(golden_dir, tmp_path, monkeypatch, capsys):
    convert(golden_dir / "free_model", tmp_path / "openface.pt")
    cv2.imwrite(str(tmp_path / "face.jpg"), cv2.imread(str(golden_dir / "free_model" / "image.png")))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(examples()[1], names)
    assert names["result"].landmarks.shape == (1, 68, 2)
    assert capsys.readouterr().out.startswith("tensor([[")


COMMAND = re.compile(r"^    clnf-torch (.*(?:\n {5,}.*)*)", re.MULTILINE)  # with the lines indented below it


def command_lines() -> list[str]:
    """What follows ``clnf-torch`` in the examples of README and handbook."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [line for page in pages for line in COMMAND.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("line", command_lines())
def test_commands_have_the_options_that_are_told_of(line):
    words = [word.strip("[]()") for part in line.splitlines() for word in part.partition(" #")[0].split()]
    command = typer.main.get_command(app)
    while (commands := getattr(command, "commands", None)) is not None:
        command = commands[words.pop(0)]
    named = {word for word in words if re.match("--?[a-z]", word)}
    options = [param for param in command.params if param.opts[0].startswith("-")]
    assert named <= {name for param in options for name in (*param.opts, *param.secondary_opts)}, "there are none such"
    assert all(named & {*param.opts} for param in options if param.required), "the command asks for others too"
