"""Files that are not what their name says: empty, a saved web page, a text."""

from pathlib import Path

from clnf_torch.converters.openface.errors import ConversionError, Place, quote


def refuse_lookalikes(content: bytes, file: Path, size: int, what: str) -> None:
    """Refuses an empty file, a download page and a text file where a binary one belongs.

    Args:
        content: The file's first bytes.
        file: The file.
        size: Its size in bytes.
        what: What it should be.

    Raises:
        ConversionError: It is one of these.
    """
    place = Place(file=file, byte=0)
    if size == 0:
        raise ConversionError(place, expected=what, found="an empty file")
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script", b"<!--")):
        remedy = "the download saved a page in the model's place; download the file itself"
        raise ConversionError(place, expected=what, found=f"a web page, {quote(content)}", remedy=remedy)
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in content):
        remedy = "put the file that OpenFace's download gives in its place"
        raise ConversionError(place, expected=what, found=f"text, {quote(content)}", remedy=remedy)
