"""The closing table shows names that cannot be printed, and stays a table."""

from __future__ import annotations

import re

from clnf_torch.cli.videos.summary import show_table


def test_names_that_cannot_be_printed_are_shown_by_their_bytes_and_columns_stay_aligned(capsys):
    """In the C locale the letters of names are bytes that are no characters."""
    name = "x \udcc3\udcbc.csv"
    show_table(name, ("folder", "faces", "outputs"), [(name, "1", name), ("long enough to be wider", "2", "b\x1b.csv")])
    title, *lines = (line.strip() for line in capsys.readouterr().out.splitlines() if ".csv" in line)
    (first, one, last), (_, two, other) = (re.split("  +", line) for line in lines)
    assert title == first == last == r"x \xc3\xbc.csv"
    assert (one, two, other) == ("1", "2", r"b\x1b.csv")
    assert lines[0].index(" 1 ") == lines[1].index(" 2 ")
