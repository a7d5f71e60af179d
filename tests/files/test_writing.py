"""Files that appear once they are complete, and those that two write."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from clnf_torch.files import writing
from clnf_torch.files.growing import GrowingFile, growing_file
from clnf_torch.files.writing import new_partial_of, partial_of, remove_file, write_atomically


def test_appears_when_it_is_done(tmp_path):
    target = tmp_path / "out.csv"
    target.write_bytes(b"old")
    with write_atomically(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("write", [write_atomically, growing_file])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path, write, there):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "t.csv", tmp_path / "link.csv"
    (tmp_path / "inner.csv").symlink_to("real/t.csv")
    link.symlink_to("inner.csv")
    if there:
        target.write_bytes(b"old")
    with write(link) as file:
        file.write(b"new")
        # On the target's disk, which may be another one than the link's
        assert partial_of(link) == tmp_path / "real" / "t.csv.partial" and partial_of(link).exists()
    assert link.is_symlink() and target.read_bytes() == b"new" and [*target.parent.iterdir()] == [target]
    remove_file(link)
    assert link.is_symlink() and not any(target.parent.iterdir())


def test_what_a_killed_process_left_is_written_over(tmp_path):
    target = tmp_path / "out.pt"
    partial_of(target).write_bytes(b"half a model that is longer")
    with write_atomically(target) as file:
        file.write(b"whole")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.pt.partial"]
    assert target.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [target]
    partial_of(target).write_bytes(b"half")
    remove_file(target)
    remove_file(target)
    assert not any(tmp_path.iterdir())


def test_a_folder_of_parts_holds_the_new_file_too(tmp_path):
    target = tmp_path / "out.pt"
    partial_of(target).mkdir()
    with write_atomically(target) as file:
        file.write(b"whole")
        assert [path.name for path in partial_of(target).iterdir()] == ["_new"]
    assert target.read_bytes() == b"whole" and not any(partial_of(target).iterdir())


def test_the_new_name_reaches_the_disk(tmp_path, monkeypatch):
    synchronised = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synchronised.append(os.fstat(file)), real(file)))
    with write_atomically(tmp_path / "out.pt", new_partial_of(tmp_path / "out.pt")) as file:
        file.write(b"whole")
    kinds = [stat.S_ISDIR(status.st_mode) for status in synchronised]
    assert kinds == ([False, True] if hasattr(os, "O_DIRECTORY") else [False])
    assert not hasattr(os, "O_DIRECTORY") or synchronised[1].st_ino == tmp_path.stat().st_ino


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "missing" / "out.csv"):
        pass


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_what_failed_does_not_appear(tmp_path, end):
    target = tmp_path / "out.pt"
    target.write_bytes(b"old")
    with pytest.raises(end), write_atomically(target) as file:
        file.write(b"half a model")
        raise end
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_a_name_that_is_a_folder_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError), write_atomically(tmp_path / "taken") as file:
        file.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_atomic_file_has_usual_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with write_atomically(tmp_path / "ours") as file:
        file.write(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_two_that_write_one_file_come_one_after_the_other(tmp_path):
    path, begun, order = tmp_path / "page.html", threading.Event(), list[str]()

    def second():
        begun.wait()
        with write_atomically(path) as file:
            order.append("second")
            file.write(b"second")

    (other := threading.Thread(target=second)).start()
    with write_atomically(path) as file:
        begun.set()
        time.sleep(0.3)
        file.write(b"a longer first one")
        order.append("first")
    assert path.read_bytes() in {b"a longer first one", b"second"}
    other.join()
    assert order == ["first", "second"]
    assert path.read_bytes() == b"second" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_another_process_writes_for_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "PATIENCE", 0.1)
    with write_atomically(tmp_path / "page.html") as file:
        file.write(b"first")
        with (
            pytest.raises(OSError, match="another process is writing this file"),
            write_atomically(tmp_path / "page.html"),
        ):
            pass
    assert (tmp_path / "page.html").read_bytes() == b"first"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_with_the_file(tmp_path):
    (rows := tmp_path / "rows.csv.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as growing, open(rows, "r+b", buffering=0) as file:
        GrowingFile(file).write(b"one")
    assert growing.value.filename == str(rows)

    with pytest.raises(OSError, match="No space left") as whole, write_atomically(tmp_path / "face.json"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert whole.value.filename == str(tmp_path / "face.json")
