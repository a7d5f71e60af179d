"""A griffe extension: how the reference reads our code where it differs from what griffe takes for granted."""

import ast
import io
import tokenize
from typing import Any

import griffe

TO_TOOLS = ("type:", "noqa", "fmt:", "pragma")


class HouseStyle(griffe.Extension):
    """The comment behind a field documents it; and what a package lends from its modules is shown there, once."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, node: ast.AST | griffe.ObjectNode, **_: Any) -> None:
        """Gives an attribute without a docstring the comments that stand in its lines."""
        if attr.docstring is None and isinstance(node, ast.stmt) and node.end_lineno is not None:
            lines = attr.lines_collection[attr.filepath][node.lineno - 1 : node.end_lineno]
            if text := comments_of("\n".join(lines)):
                attr.docstring = griffe.Docstring(text, lineno=node.lineno, parent=attr)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Forgets the ``__all__`` of every wing; that of the door stays."""
        for wing in pkg.modules.values():
            if not wing.is_alias:
                wing.exports = None


def comments_of(source: str) -> str:
    """The comments of a statement, joined; those that speak to tools are left out."""
    tokens = tokenize.generate_tokens(io.StringIO(source.strip()).readline)
    texts = [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    return " ".join(text for text in texts if not text.startswith(TO_TOOLS))
