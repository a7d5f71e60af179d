"""The package as it is imported, for the reference, and files of the repository that pages include."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Folders beside clnf_torch/ that are imported as its subpackages
SUBPACKAGES = ("converters", "weights")
FROM = re.compile(r"^<!-- from (\S+) -->$", re.MULTILINE)


def on_startup(**_: Any) -> None:
    """Links all packages under the names by which they are imported into ``build/reference/clnf_torch``."""
    package = ROOT / "build" / "reference" / "clnf_torch"
    package.mkdir(parents=True, exist_ok=True)
    for old in package.iterdir():
        old.unlink()
    inside = [path for path in (ROOT / "clnf_torch").iterdir() if path.name != "__pycache__"]
    for target in (*inside, *(ROOT / name for name in SUBPACKAGES)):
        (package / target.name).symlink_to(Path("../../..") / target.relative_to(ROOT))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces ``<!-- from FILE -->`` by the file without its title."""
    return FROM.sub(lambda found: untitled((ROOT / found[1]).read_text(encoding="utf-8")), markdown)


def untitled(markdown: str) -> str:
    """A file without its first heading."""
    return re.sub(r"\A# .*\n", "", markdown)
