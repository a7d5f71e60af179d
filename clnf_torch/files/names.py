"""Names of files in messages and tables, on one line and readable again; and names that look like a missing one."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Characters of a message about a file
LONGEST_MESSAGE = 300
# What breaks lines, drives terminals, or is no letter in UTF-8
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LIKE_A_BYTE = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def one_line(text: str) -> str:
    """A message as one short line: nothing in it breaks the line or the terminal, and long ones are cut.

    See `printable` for what cannot be shown.
    """
    text = printable(text)
    if len(text) <= LONGEST_MESSAGE:
        return text
    end = LONGEST_MESSAGE // 3
    return f"{text[: LONGEST_MESSAGE - end - 5]} ... {text[-end:]}"


def printable(text: str) -> str:
    r"""Text on one line that any terminal can show; what it cannot show is written as its bytes in UTF-8, ``\xHH``."""
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def escaped_name(name: str) -> str:
    r"""A file's name for a table, on one line and in UTF-8, that can be read back: ``\xHH`` stands for a byte of it.

    So are control characters, ends of lines, bytes that are not UTF-8, and backslashes that stand before ``xHH``.
    """
    return _CONTROL.sub(lambda found: _escaped(found[0]), _LIKE_A_BYTE.sub(r"\\x5c", name))


def name_from_escaped(written: str) -> str:
    """The file's name of which `escaped_name` made a text."""
    content = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode("ascii")), written.encode("utf-8"))
    return os.fsdecode(content)


def escaped_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same record with `escaped_name` of its texts."""
    return {key: escaped_name(value) if isinstance(value, str) else value for key, value in record.items()}


def _escaped(character: str) -> str:
    """The bytes of a character; of one that stands for a byte which is not UTF-8, that byte."""
    try:
        found = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        found = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in found)


def lookalike(path: Path) -> Path | None:
    """The file or folder beside a missing one, or a folder deeper, whose name differs as downloads and copies make it.

    Such names have other letter cases, a browser's ``(1)``, or the ``?dl=1`` of a link; and what an archive was
    unpacked to may lie one folder deeper than expected, in a folder of the same name.
    """
    for folder in (path.parent, path.parent / path.parent.name):
        try:
            names = sorted(entry.name for entry in os.scandir(folder))
        except (OSError, ValueError):
            continue
        for name in names:
            if (folder != path.parent or name != path.name) and _plain_name(name) == _plain_name(path.name):
                return folder / name
    return None


def _plain_name(name: str) -> str:
    """A name without what downloads and copies add to it."""
    name = re.sub(r"[?%&].*$|\.(download|part|crdownload)$", "", name.casefold())
    return re.sub(r"[ _-]*(\(\d+\)|copy)(?=\.|$)", "", name)
