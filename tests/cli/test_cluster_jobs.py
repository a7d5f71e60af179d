"""``detect`` and ``track`` with ``--ray``: what is refused before anything is computed."""

from __future__ import annotations

import builtins

import pytest
import torch


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], "found none"),
        (["--csv", "t.csv", "--parquet", "out"], "found --csv"),
        (["--parquet", "out", "--openface-precision"], "found --openface-precision"),
    ],
)
@pytest.mark.parametrize("command", ["detect", "track"])
def test_other_outputs_than_parquet_are_refused(clnf_torch_cli, bundle, command, words, found):
    done = clnf_torch_cli(command, "a.png", "--model", bundle, "--ray", "local", *words)
    assert done.exit_code == 2
    said = " ".join(done.stderr.replace("│", " ").split())
    assert "--ray writes Parquet files: give --parquet FOLDER or URL alone;" in said
    assert found in said


def test_a_single_card_is_not_chosen(clnf_torch_cli, bundle, tmp_path):
    pytest.importorskip("ray", reason="no Ray: pip install 'clnf-torch[ray]'")
    words = "--ray", "local", "--parquet", tmp_path / "out", "--device", "cuda:1"
    done = clnf_torch_cli("detect", "a.png", "--model", bundle, *words)
    assert done.exit_code == 2
    assert "--device cuda:1: with --ray give cpu or cuda" in " ".join(done.stderr.replace("│", " ").split())


def test_without_ray_one_line_says_what_to_install(clnf_torch_cli, bundle, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_ray(name, *args, **more):
        if name.partition(".")[0] == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    done = clnf_torch_cli("detect", "a.png", "--model", bundle, "--ray", "local", "--parquet", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr == "clnf-torch: error: Ray is not installed; install it with: pip install 'clnf-torch[ray]'\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["detect", "track"])
def test_threads_and_smoothing_reach_the_actors(clnf_torch_cli, bundle, tmp_path, monkeypatch, command):
    pytest.importorskip("ray", reason="no Ray: pip install 'clnf-torch[ray]'")
    from clnf_torch import distributed
    from clnf_torch.distributed.job import JobReport

    given = {}

    def job(inputs, output, **options):
        given.update(options)
        return JobReport(inputs=1, skipped=0, rows=1, problems=[])

    for name in ("detect_images", "track_videos"):
        monkeypatch.setattr(distributed, name, job)
    words = ["--ray", "local", "--parquet", tmp_path / "out", "--threads", 2, "--actors", 3]
    words += ["--smooth"] if command == "track" else []
    before = torch.get_num_threads()
    try:
        done = clnf_torch_cli(command, "a.mp4", "--model", bundle, *words)
    finally:
        torch.set_num_threads(before)
    assert done.exit_code == 0, done.stderr
    assert (given["actors"].num_cpus, given["actors"].threads, given["actors"].concurrency) == (2, 2, 3)
    assert command == "detect" or given["settings"].smooth
