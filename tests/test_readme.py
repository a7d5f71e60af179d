"""The README's Python runs as pasted, its links exist, and so do all commands and options in it and in the guide."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import typer

from clnf_torch.cli.main import app

ROOT = Path(__file__).resolve().parent.parent


def examples(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_python_runs_as_pasted_where_the_images_are(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "docs" / "images", tmp_path / "docs" / "images")
    monkeypatch.chdir(tmp_path)
    (example,) = examples("python")
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["faces"].landmarks.shape == names["result"].landmarks.shape == (1, 68, 2)
    assert (tmp_path / "faces.csv").is_file()
    assert names["result"].success.all()
    assert capsys.readouterr().out.startswith("[[[")


def test_python_is_short():
    lines = [line for line in "".join(examples("python")).splitlines() if line]
    assert len(lines) <= 10


def test_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {target for target in re.findall(r"\]\(([^)#]+)\)", text) if not target.startswith("http")}
    assert "docs/images/astronaut_landmarks.jpg" in linked
    assert {target for target in linked if not (ROOT / target).is_file()} == set()


COMMAND = re.compile(r"^    clnf-torch (.*(?:\n {5,}.*)*)", re.MULTILINE)  # with the lines indented below it


def command_lines() -> list[str]:
    """What follows ``clnf-torch`` in the examples of README and documentation."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [line for page in pages for line in COMMAND.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("line", command_lines())
def test_commands_and_options_exist(line):
    words = [word.strip("[]()") for part in line.splitlines() for word in part.partition(" #")[0].split()]
    command = typer.main.get_command(app)
    while (commands := getattr(command, "commands", None)) is not None:
        command = commands[words.pop(0)]
    named = {word for word in words if re.match("--?[a-z]", word)}
    options = [param for param in command.params if param.opts[0].startswith("-")]
    assert named <= {name for param in options for name in (*param.opts, *param.secondary_opts)}, "there are none such"
    assert all(named & {*param.opts} for param in options if param.required), "the command asks for others too"
