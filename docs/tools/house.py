"""What the handbook takes from elsewhere in the repository, so that it is written once."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEIGHBOURS = ("converters", "weights")
FROM = re.compile(r"^<!-- from (\S+) -->$", re.MULTILINE)


def on_startup(**_: Any) -> None:
    """Links every wing, and the neighbours under the names they are imported by, into ``build/house/clnf_torch``."""
    house = ROOT / "build" / "house" / "clnf_torch"
    house.mkdir(parents=True, exist_ok=True)
    for old in house.iterdir():
        old.unlink()
    inside = [path for path in (ROOT / "clnf_torch").iterdir() if path.name != "__pycache__"]
    for target in (*inside, *(ROOT / name for name in NEIGHBOURS)):
        (house / target.name).symlink_to(Path("../../..") / target.relative_to(ROOT))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts files in the place of ``<!-- from FILE -->``, without their titles."""
    return FROM.sub(lambda found: untitled((ROOT / found[1]).read_text(encoding="utf-8")), markdown)


def untitled(markdown: str) -> str:
    """A file without its first heading."""
    return re.sub(r"\A# .*\n", "", markdown)
