"""How the program is asked to stop, and how it ends when it was stopped, or its bundle is wrong."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
import typer

import clnf_torch
from clnf_torch.cli.console import failures_exit_with, finishing_first
from clnf_torch.training.synthetic.renderer import MISSING_MODERNGL

WISHES = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)]


def test_what_nohup_has_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with finishing_first() as stop_if_asked:
            os.kill(os.getpid(), signal.SIGHUP)
            stop_if_asked()
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("wish", "ending"), WISHES)
def test_the_first_request_waits_until_the_program_may_stop(wish, ending):
    before = signal.getsignal(wish)
    done = []
    with pytest.raises(ending) as caught, finishing_first() as stop_if_asked:
        stop_if_asked()
        os.kill(os.getpid(), wish)
        done.append("work in hand")
        stop_if_asked()
        done.append("more work")
    assert done == ["work in hand"]
    assert signal.getsignal(wish) is before
    if ending is SystemExit:
        assert caught.value.code == 128 + wish


@pytest.mark.parametrize(("wish", "ending"), WISHES)
def test_the_second_request_does_not_wait(wish, ending):
    with pytest.raises(ending), finishing_first():
        os.kill(os.getpid(), wish)
        os.kill(os.getpid(), wish)
        pytest.fail("went on")


@pytest.mark.parametrize("command", [("info",), ("export", "to"), ("fit", "image.png")], ids=lambda words: words[0])
@pytest.mark.parametrize("contents", [None, b"", b"no bundle", "tensor"], ids=["missing", "empty", "text", "tensor"])
def test_a_wrong_bundle_is_one_line(clnf_torch_cli, tmp_path, monkeypatch, command, contents):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.png").touch()
    wrong = tmp_path / "wrong.pt"
    if contents == "tensor":
        torch.save({"x": torch.zeros(2)}, wrong)
    elif contents is not None:
        wrong.write_bytes(contents)
    name, *rest = command
    words = [*rest, "--model", wrong, "--box", 1, 2, 3, 4] if name == "fit" else [wrong, *rest]
    done = clnf_torch_cli(name, *words)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == (2 if name == "export" else 1)
    assert line.startswith("clnf-torch: error: ")
    assert "wrong.pt" in line
    assert done.stdout == ""


def test_a_package_that_is_not_installed_is_one_line(capsys):
    with pytest.raises(typer.Exit) as ended, failures_exit_with(1):
        raise ModuleNotFoundError(MISSING_MODERNGL, name="moderngl")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == f"clnf-torch: error: {MISSING_MODERNGL}\n"


def test_ctrl_c_ends_with_130(clnf_torch_cli, bundle, image, box, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(clnf_torch.LandmarkDetector, "fit", interrupted)
    done = clnf_torch_cli("detect", image, "--model", bundle, "--box", *box)
    assert done.exit_code == 130
    assert json.loads(done.stdout)["faces"] == []
    assert done.stderr.splitlines() == ["clnf-torch: interrupted"]


def test_the_version_is_printed(clnf_torch_cli):
    done = clnf_torch_cli("--version")
    assert (done.exit_code, done.stdout) == (0, f"clnf-torch {clnf_torch.__version__}\n")
