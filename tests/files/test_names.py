"""Names of files in messages and tables."""

from __future__ import annotations

import os
import re

import pytest

from clnf_torch.files.names import escaped_name, lookalike, name_from_escaped, one_line


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
