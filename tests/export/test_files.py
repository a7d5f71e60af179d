"""`clnf_torch.export.files`: nothing before the end, all that was written after it, however it came."""

from __future__ import annotations

import pytest

from clnf_torch.export.files import growing_file


def test_appears_when_it_is_done(tmp_path):
    target = tmp_path / "out.csv"
    target.write_bytes(b"old")
    with growing_file(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_what_was_written_stays(tmp_path, end):
    target = tmp_path / "out.csv"
    with pytest.raises(end), growing_file(target) as file:
        file.write(b"half a video")
        raise end
    assert target.read_bytes() == b"half a video" and list(tmp_path.iterdir()) == [target]


def test_nothing_written_is_no_file(tmp_path):
    target = tmp_path / "out.csv"
    target.write_bytes(b"old")
    with growing_file(target):
        pass
    with pytest.raises(KeyboardInterrupt), growing_file(target):
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError), growing_file(tmp_path / "missing" / "out.csv"):
        pass
