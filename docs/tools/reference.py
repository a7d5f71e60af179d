"""A page of the reference for each module, and a list of them on the page of their package."""

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What the page of a package, which is written by hand, documents
PACKAGE = re.compile(r"^::: clnf_torch\.(\w+)$", re.MULTILINE)
# Loops and programs that are for no caller
HIDDEN = "kernels"
PAGE = """---
title: {name}
---

A module of [`clnf_torch.{package}`]({package}.md).

::: clnf_torch.{name}
    options:
      heading_level: 1
"""


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Adds a page for each module of the packages that have a page."""
    from mkdocs.structure.files import File

    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for package in PACKAGE.findall(page.read_text(encoding="utf-8")):
            for name in modules_of(package):
                content = PAGE.format(name=name, package=package)
                files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lists the modules of a package below its page."""
    found = PACKAGE.search(markdown)
    if found is None or page.file.src_uri != f"reference/{found[1]}.md":
        return markdown
    rows = [f"| [`{name}`]({name}.md) | {text} |" for name, text in modules_of(found[1]).items()]
    return "\n".join([markdown, "", "## Modules", "", "| module | contents |", "| --- | --- |", *rows, ""])


def modules_of(package: str) -> dict[str, str]:
    """The modules of a package, those of packages in it too, such as "models.pdm", with the first line of each."""
    folder = ROOT / package if package == "converters" else ROOT / "clnf_torch" / package
    found = {}
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and HIDDEN not in parts and not any(part.startswith("_") for part in parts):
            text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            found[".".join((package, *parts))] = text.partition("\n")[0].replace("|", r"\|")
    return found
