"""Description files: ``main_*.txt`` and the landmark models they point to, one module a line."""

from dataclasses import dataclass
from pathlib import Path

from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.text import read_text
from clnf_torch.files.names import printable

REMEDY = "name an OpenFace description such as main_ceclm_general.txt"


@dataclass(frozen=True, kw_only=True)
class Module:
    """A line of a description: ``KEYWORD path [arguments]``.

    Attributes:
        keyword: What it is.
        words: The words after the keyword; the first is a path.
        place: The file and line.
    """

    keyword: str
    words: tuple[str, ...]
    place: Place

    @property
    def path(self) -> Path:
        """The file it names, found from the description's folder.

        Raises:
            ConversionError: The line names none.
        """
        if not self.words:
            expected = f"a path after {self.keyword}"
            raise ConversionError(self.place, expected=expected, found="the end of the line", remedy="name the file")
        return self.place.file.parent / self.words[0].replace("\\", "/")

    @property
    def entry(self) -> str:
        """The line's beginning, without a part's long list of landmarks."""
        text = printable(" ".join((self.keyword, *self.words[:2])))
        return text if len(text) <= 100 else text[:97] + "..."


def read_description(path: Path, what: str) -> tuple[Module, ...]:
    """Reads a description; lines may end in CR, and the last may lack its newline.

    Args:
        path: The file.
        what: What it should be, for messages.

    Returns:
        Its modules in order; empty lines and comments (``#``) are no modules.

    Raises:
        ConversionError: The file is missing, empty or not text.
    """
    modules = []
    for number, line in enumerate(read_text(path, what).split(b"\n"), start=1):
        words = line.decode("utf-8", "replace").split()
        if words and not words[0].startswith("#"):
            place = Place(file=path, line=number)
            modules.append(Module(keyword=words[0], words=tuple(words[1:]), place=place))
    return tuple(modules)


def only(modules: tuple[Module, ...], keyword: str) -> Module | None:
    """The module of a keyword, or None.

    Raises:
        ConversionError: There are several.
    """
    found = [module for module in modules if module.keyword == keyword]
    if len(found) > 1:
        expected = f"one line {keyword}"
        raise ConversionError(found[1].place, expected=expected, found="another one", remedy="remove the one too many")
    return found[0] if found else None
