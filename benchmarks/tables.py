"""Tables that read well on a terminal and can be pasted into a Markdown file."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose numbers stand on the right."""
    made = Table(title=title, title_justify="left", box=box.MARKDOWN)
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made
