"""Files that grow: older ones stay until the new one is complete, pieces are whole, and a run goes on behind them."""

from __future__ import annotations

import os

import pytest

from clnf_torch.files.growing import GrowingFile, PartialError, growing_file, set_aside
from clnf_torch.files.writing import new_partial_of, partial_of


def test_the_name_comes_at_the_end(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"older")
    with growing_file(path) as file:
        file.write(b"one\n")
        # What a killed process leaves
        assert (path.read_bytes(), partial_of(path).read_bytes()) == (b"older", b"one\n")
    assert path.read_bytes() == b"one\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, OSError])
def test_what_stops_it_leaves_both(tmp_path, end):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"older")
    with pytest.raises(end), growing_file(path) as file:
        file.write(b"one\n")
        raise end
    assert (path.read_bytes(), partial_of(path).read_bytes()) == (b"older", b"one\n")
    with pytest.raises(end), growing_file(tmp_path / "other.csv"):
        raise end
    assert len(list(tmp_path.iterdir())) == 2


def test_gone_on_behind_a_place(tmp_path):
    path = tmp_path / "rows.csv"
    partial_of(path).write_bytes(b"one\ntwo\nthr")
    with growing_file(path, 8) as file:
        assert file.position == 8
        file.write(b"three\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    for content in (None, b"one\n"):
        partial_of(path).write_bytes(content) if content else None
        with pytest.raises(PartialError, match="expected at least 8 bytes"), growing_file(path, 8):
            pass


class Full:
    """A file on a disk with room for ten bytes, which takes three at a time."""

    def __init__(self) -> None:
        self.content = b""

    def tell(self) -> int:
        return len(self.content)

    def truncate(self, size: int) -> None:
        self.content = self.content[:size]

    def write(self, data: memoryview) -> int:
        if len(self.content) == 10:
            raise OSError(28, os.strerror(28))
        taken = bytes(data)[: min(3, 10 - len(self.content))]
        self.content += taken
        return len(taken)


def test_pieces_are_whole_on_a_full_disk():
    file = GrowingFile(disk := Full())
    file.write(b"four\n")
    with pytest.raises(OSError, match="No space left"):
        file.write(b"sixteen\n")
    assert disk.content == b"four\n" and file.position == 5


def test_what_an_earlier_run_left_is_kept_under_a_number(tmp_path):
    path = tmp_path / "out.csv"
    for text in (b"first", b"second", b""):
        with pytest.raises(KeyboardInterrupt), growing_file(path) as file:
            file.write(text)
            raise KeyboardInterrupt
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {
        "out.csv.partial.1": b"first",
        "out.csv.partial.2": b"second",
    }
    with growing_file(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole" and not partial_of(path).exists()


def test_a_new_run_removes_what_an_earlier_one_had_begun_to_complete(tmp_path):
    path = tmp_path / "out.json"
    new_partial_of(path).write_bytes(b"half of it")
    with growing_file(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_a_folder_of_parts_is_kept_too(tmp_path):
    (tmp_path / "out.parquet.partial").mkdir()
    assert set_aside(tmp_path / "out.parquet") is None
    (tmp_path / "out.parquet.partial" / "000.parquet").write_bytes(b"rows")
    assert set_aside(tmp_path / "out.parquet") == tmp_path / "out.parquet.partial.1"
    assert (tmp_path / "out.parquet.partial.1" / "000.parquet").read_bytes() == b"rows"


@pytest.mark.parametrize("position", [None, 0])
def test_two_that_write_one_file_do_not_damage_each_other(tmp_path, position):
    path = tmp_path / "rows.csv"
    with growing_file(path) as file:
        file.write(b"one\n")
        with pytest.raises(OSError, match="another process is writing this file"), growing_file(path, position):
            pass
        with pytest.raises(OSError, match="another process is writing this file"):
            set_aside(path)
        file.write(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n" and list(tmp_path.iterdir()) == [path]
