"""A griffe extension: documents fields by their comments, and each public name once."""

import ast
import io
import textwrap
import tokenize
from typing import Any

import griffe

TO_TOOLS = ("type:", "noqa", "fmt:", "pragma")


class CommentDocstrings(griffe.Extension):
    """Takes the comments above a field, or behind it, for its docstring."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, node: ast.AST | griffe.ObjectNode, **_: Any) -> None:
        """Gives an attribute without a docstring its comments."""
        if attr.docstring is None and isinstance(node, ast.stmt) and node.end_lineno is not None:
            lines = attr.lines_collection[attr.filepath]
            first = first_comment(lines, node.lineno)
            if text := comments_of("\n".join(lines[first - 1 : node.end_lineno])):
                attr.docstring = griffe.Docstring(text, lineno=first, parent=attr)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Ignores the ``__all__`` of subpackages, so that each name is documented in its module only."""
        for subpackage in pkg.modules.values():
            if not subpackage.is_alias:
                subpackage.exports = None


def first_comment(lines: list[str], statement: int) -> int:
    """Number of the first line of the comment that ends above a statement; the statement's where there is none."""
    while statement > 1 and lines[statement - 2].lstrip().startswith("#"):
        statement -= 1
    return statement


def comments_of(source: str) -> str:
    """The comments of a statement, joined; directives to tools are left out."""
    tokens = tokenize.generate_tokens(io.StringIO(textwrap.dedent(source).strip()).readline)
    texts = [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    return " ".join(text for text in texts if not text.startswith(TO_TOOLS))
