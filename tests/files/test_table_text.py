"""Text of tables."""

import io
import tracemalloc

import pytest

from clnf_torch.files.table_text import data_rows, header, lines_of


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n", "a\r\nb\rc\n\nd", "a\r\n\r\n", "\u00e4\u2028b\x0cc\x85d\nc"])
def test_lines_end_as_in_files(text):
    assert list(lines_of(text)) == list(io.StringIO(text, newline=None))


def test_long_texts_are_not_copied():
    """Four times the size of a table of gigabytes is more than most machines have."""
    text = "frame,a\n" + "1,2\n" * 250_000
    tracemalloc.start()
    try:
        delimiter, names = header(lines_of(text), "frame")
        assert sum(1 for _ in data_rows(lines_of(text), delimiter, len(names))) == 250_000
        assert tracemalloc.get_traced_memory()[1] < len(text) / 4
    finally:
        tracemalloc.stop()


def test_long_tables_tell_how_many_rows_are_read():
    told = list[int]()
    rows = list(data_rows(["a\n", *["1\n"] * 2500], ",", 1, told.append))
    assert len(rows) == 2500 and told == [1000, 1000]
