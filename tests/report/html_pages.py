"""HTML pages as tests read them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """A page: its elements, its texts, and the numbers of its charts.

    Args:
        path: The file. An element that is not closed, or closed in another's place, fails.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.numbers, self._open = "", [], list[tuple[str, dict[str, str | None]]]()
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        if attributes.get("type") == "application/json":
            self.numbers.append(json.loads(data))
        elif tag not in {"script", "style"}:
            self.text += data

    def all(self, tag: str, name: str = "") -> list[dict[str, str | None]]:
        """The attributes of all elements of a tag, and of a class if one is given."""
        classes = [(attrs, (attrs.get("class") or "").split()) for found, attrs in self.elements if found == tag]
        return [attrs for attrs, own in classes if not name or name in own]

    def loaded(self) -> list[str]:
        """All addresses that a browser would load or go to."""
        return [value for _, attrs in self.elements for key in ("src", "href", "action") if (value := attrs.get(key))]
