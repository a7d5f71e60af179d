"""What is no file is refused unopened; what is written is there at the end whole, or not at all where that failed."""

from __future__ import annotations

import os
import re
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from clnf_torch.models import files
from clnf_torch.models.files import (
    escaped_name,
    lookalike,
    name_from_escaped,
    new_partial_of,
    one_line,
    partial_of,
    remove_file,
    require_regular_file,
    write_atomically,
)


def other_kind(folder: Path, kind: str) -> Path:
    """A path to something that is no regular file, behind a link."""
    path = folder / "original"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    (folder / "link").symlink_to(path)
    return folder / "link"


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are files on POSIX systems alone")
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
def test_what_is_no_file_is_refused_unopened(tmp_path, kind):
    path = other_kind(tmp_path, kind)
    with pytest.raises(OSError, match=f"expected a file, found a {kind}") as caught:
        require_regular_file(path)
    assert caught.value.filename == str(path)


def test_the_size_of_a_file_behind_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert require_regular_file(tmp_path / "link") == 3


@pytest.mark.parametrize(("name", "error"), [("missing", FileNotFoundError), ("a\0b", OSError)])
def test_what_is_not_there_is_an_os_error(tmp_path, name, error):
    with pytest.raises(error):
        require_regular_file(tmp_path / name)


def test_appears_when_it_is_done(tmp_path):
    target = tmp_path / "out.csv"
    target.write_bytes(b"old")
    with write_atomically(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new" and list(tmp_path.iterdir()) == [target]


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


def test_a_message_is_one_short_line():
    assert one_line("a\nb\x1b[2J\u2028\udcff\u0530é") == r"a\x0ab\x1b[2J\xe2\x80\xa8\xff\xd4\xb0é"
    long = one_line("begin " + "x" * 10**5 + " end")
    assert len(long) == 300 and long.startswith("begin ") and long.endswith(" end")


@pytest.mark.parametrize("name", ["M.PT", "m (1).pt", "m.pt?dl=1", "m - Copy.pt", "m.pt.part"])
def test_the_file_that_is_meant_perhaps(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert lookalike(tmp_path / "m.pt") == tmp_path / name
    assert lookalike(tmp_path / "other.pt") is None and lookalike(tmp_path / "none" / "m.pt") is None


def test_a_file_in_a_folder_of_the_same_name(tmp_path):
    (tmp_path / "a" / "a").mkdir(parents=True)
    (tmp_path / "a" / "a" / "m.pt").write_bytes(b"")
    assert lookalike(tmp_path / "a" / "m.pt") == tmp_path / "a" / "a" / "m.pt"


NAMES = {
    b"a b\xc3\xa9.png": "a b\u00e9.png",
    b"\xff.png": r"\xff.png",
    b"\\xff.png": r"\x5cxff.png",
    b"C:\\users\\xbox\\a.png": r"C:\users\xbox\a.png",
    b"two\nlines\t\x1b[2J": r"two\x0alines\x09\x1b[2J",
    b"\xc2\x85\xe2\x80\xa8": r"\xc2\x85\xe2\x80\xa8",
    b"\\\\x5c\\x0a": r"\\x5cx5c\x5cx0a",
    b"\xed\xa0\x80": r"\xed\xa0\x80",
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_escaped_names_are_printable_and_tell_every_file(name, expected):
    written = escaped_name(os.fsdecode(name))
    assert written == expected and written.isprintable()
    # As docs/guide/columns.md reads them
    read = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), written.encode())
    assert read == name == os.fsencode(name_from_escaped(written))


def test_a_message_shows_the_bytes_of_a_name():
    assert one_line(os.fsdecode(b"\xff\n.png: 'C:\\xff'")) == r"\xff\x0a.png: 'C:\xff'"
    assert len(one_line("\n" * 1000)) <= 300


def test_surrogates_that_stand_for_no_byte_are_escaped():
    assert escaped_name("\ud800.png") == r"\xed\xa0\x80.png"


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
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    with write_atomically(tmp_path / "page.html") as file:
        file.write(b"first")
        with (
            pytest.raises(OSError, match="another process is writing this file"),
            write_atomically(tmp_path / "page.html"),
        ):
            pass
    assert (tmp_path / "page.html").read_bytes() == b"first"
