"""``clnf-torch fit`` is ``detect`` with boxes that are given."""

from __future__ import annotations

import typer

from clnf_torch.cli.main import app


def test_it_does_what_detect_does(clnf_torch_cli, bundle, image, box):
    fit, detect = (clnf_torch_cli(name, image, "--model", bundle, "--box", *box) for name in ("fit", "detect"))
    assert fit.exit_code == 0 and fit.stderr == ""
    assert fit.stdout == detect.stdout and "landmarks_3d" in fit.stdout


def test_it_needs_boxes(clnf_torch_cli, bundle, image):
    done = clnf_torch_cli("fit", image, "--model", bundle)
    assert done.exit_code == 2
    assert "--box X Y W H or --boxes FILE.json" in " ".join(done.stderr.split())


def test_its_help_says_so(clnf_torch_cli):
    fit, detect = (typer.main.get_command(app).commands[name] for name in ("fit", "detect"))
    assert "Alias of detect that needs --box or --boxes." in clnf_torch_cli("fit", "--help").stdout
    assert [param.opts for param in fit.params] == [param.opts for param in detect.params]
