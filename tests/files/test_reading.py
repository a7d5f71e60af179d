"""Only regular files are read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from clnf_torch.files.reading import require_regular_file


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
