"""Programs that are killed at random moments leave what was there before whole, and finish when they are run again.

Signals come at moments that are drawn with a fixed seed; a few by default, ``CLNF_KILLS`` of each in ``make kills``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from clnf_torch.cli import annotated_faces
from clnf_torch.files.archive_reader import read_archive
from clnf_torch.files.writing import NEW, PARTIAL
from clnf_torch.models.bundle import load_bundle, save_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import load
from tests.cli.killing import SIGNALS, Nursery
from tests.training.untrained import untrained_model

OLD = b"an older result\n"
KILLS = int(os.environ.get("CLNF_KILLS", "0"))  # of each signal; 0: a few


def few_are_enough() -> None:
    """Lets four faces be learned from, in a process of its own."""
    annotated_faces.LEAST_FACES = 4


@pytest.fixture(scope="module")
def nursery(tmp_path_factory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("log") / "stderr")
    yield nursery
    nursery.close()


def kill_and_finish(
    nursery: Nursery,
    words: Callable[[Path], Sequence[object]],
    out: Path,
    check: Callable[[Path], None],
    prepare: str = "",
    finish: Sequence[str] = (),
    few: Sequence[int] = SIGNALS,
) -> None:
    """Kills a command at random moments of its run, which replaces older results, and runs it again each time.

    Args:
        nursery: Starts the programs.
        words: The command that writes into a folder.
        out: The folder.
        check: Asserts that the work behind the results, such as checkpoints, can be read.
        prepare: Called before.
        finish: What the command is given more when it is run again.
        few: Signals where not all of them are tried many times.
    """
    (whole := out / "whole").mkdir(parents=True)
    done = nursery.run(words(whole), prepare=prepare)
    assert done.code == 0, done.stderr
    expected = {path.name: path.read_bytes() for path in whole.iterdir() if path.is_file()}
    chance = random.Random(68)
    for number, signal in enumerate(SIGNALS * KILLS or few):
        (folder := out / str(number)).mkdir()
        for name in expected:
            (folder / name).write_bytes(OLD)
        moment = chance.uniform(0, done.seconds)
        killed = nursery.run(words(folder), kill=(signal, moment), prepare=prepare)
        assert killed.code in {0, 128 + signal, -signal}, killed.stderr
        left = {f"{name}{end}" for name in expected for end in ("", PARTIAL, f"{PARTIAL}.{NEW}", ".state")}
        left |= {f"{name}.state{PARTIAL}" for name in expected}
        assert {path.name for path in folder.iterdir()} <= left | {"work"}, (signal, moment)
        for name, content in expected.items():
            assert (folder / name).read_bytes() in {OLD, content}, (name, signal, moment)
        check(folder)
        again = nursery.run([*words(folder), *finish], prepare=prepare)
        assert again.code == 0, again.stderr
        found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        # What had been written before there was a state to go on from is kept beside the new table
        aside = {f"{name}{PARTIAL}.1": name for name in expected if f"{name}{PARTIAL}.1" in found}
        assert all(expected[name].startswith(found.pop(kept)) for kept, name in aside.items()), (signal, moment)
        assert found == expected, (signal, moment)


def readable_checkpoints(folder: Path) -> None:
    """Every file of the work that has a name is whole."""
    for path in (folder / "work").glob("**/*.pt"):
        assert isinstance(read_archive(path)["state"], dict)


def test_convert(nursery, free_model, tmp_path):
    kill_and_finish(
        nursery,
        lambda out: ["convert", free_model, "-o", out / "model.pt"],
        tmp_path,
        lambda out: load_bundle(out / "model.pt") if (out / "model.pt").read_bytes() != OLD else None,
    )


def test_evaluate(nursery, bundle, image, box, four_copies, tmp_path):
    np.savez(tmp_path / "boxes.npz", names=np.array([f"{n}.png" for n in range(4)]), boxes=np.array([box] * 4))
    words = ["evaluate", "--model", bundle, "--data", four_copies, "--boxes", tmp_path / "boxes.npz", "--batch", 1]
    kill_and_finish(
        nursery,
        lambda out: [*words, "--json", out / "scores.json", "--errors", out / "errors.csv"],
        tmp_path / "out",
        lambda out: None,
        finish=["--resume"],
    )


def test_train_finetune(nursery, bundle, four_copies, tmp_path):
    model = LandmarkModel(load(bundle).model.pdm, [untrained_model().experts_at(0)])
    save_bundle(tmp_path / "new.pt", model, writer="test", numerics="exact", sources=[{"name": "x"}], licence="mine")
    words = ["train", "finetune", four_copies, "--model", tmp_path / "new.pt", "--hold-out", 4, "--epochs", 4]
    kill_and_finish(
        nursery,
        lambda out: [*words, "--end-to-end", 2, "--work", out / "work", "-o", out / "tuned.pt"],
        tmp_path / "out",
        readable_checkpoints,
        "tests.cli.test_kills:few_are_enough",
        few=SIGNALS[-1:],
    )


def test_train_model(nursery, dotted_faces, tmp_path):
    own = dotted_faces.parent
    given = ["--prior", own / "shapes.npz", "--detector", own / "detector.pt", "--hold-out", 3, "--threads", 1]
    kill_and_finish(
        nursery,
        lambda out: [
            *("train", "model", dotted_faces, *given, "--effort", 0.0002),
            *("--work", out / "work", "-o", out / "model.pt"),
        ],
        tmp_path,
        readable_checkpoints,
        few=SIGNALS[-1:],
    )
