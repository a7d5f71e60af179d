"""Progress bars on stderr: what is done, how fast, how long the rest takes; elsewhere at most a line now and then."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from clnf_torch.cli.console import notice


class _Speed(ProgressColumn):
    """How many are done in a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self.unit}/s")


@contextlib.contextmanager
def counting_bar(total: int | None, unit: str, stop_if_asked: Callable[[], None]) -> Iterator[Callable[[int], None]]:
    """A bar of counted things, which goes away when the block ends.

    Args:
        total: How many there are, None where nobody knows.
        unit: What is counted, such as "frames".
        stop_if_asked: From `finishing_first`.

    Yields:
        To be called with how many more are done; raises KeyboardInterrupt after Ctrl-C.
    """
    screen = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(unit), TimeRemainingColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(unit.capitalize(), total=total)

        def done(count: int) -> None:
            bar.advance(task, count)
            stop_if_asked()

        yield done


@contextlib.contextmanager
def share_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of a job whose size is known when it begins, which goes away when the block ends.

    Args:
        unit: What is counted, such as "images".

    Yields:
        To be called with how many are done, first those of earlier runs, and how many there are.
    """
    screen = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(unit), TimeRemainingColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(unit.capitalize(), total=None)

        def done(count: int, total: int) -> None:
            if bar.tasks[task].total is None:
                # What was there before says nothing about the speed
                bar.reset(task, total=total, completed=count)
            bar.update(task, completed=count)

        yield done


@contextlib.contextmanager
def bytes_bar(what: str = "Writing") -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes, of a file read and then written or of what else is done, which goes away when the block ends.

    Args:
        what: What is done with the bytes that are counted.

    Yields:
        To be called with how many bytes are done, and how many there are.
    """
    screen = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("Reading", total=None)

        def count(done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield count


@contextlib.contextmanager
def training_bars(stop_if_asked: Callable[[], None]) -> Iterator[Callable[[str, int, int, float], None]]:
    """A bar for each part of a training on a terminal; elsewhere a line now and then.

    Args:
        stop_if_asked: From `finishing_first`.

    Yields:
        To be told of every step; raises KeyboardInterrupt after Ctrl-C.
    """
    screen = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, TextColumn("{task.fields[loss]}"), console=screen, disable=not screen.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def report(what: str, step: int, steps: int, loss: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=steps, loss="")
            bar.update(tasks[what], completed=step, loss=f"{loss:.3f}")
            if not screen.is_terminal and (step % 500 == 0 or step == steps):
                notice(f"{what}: step {step} of {steps}, loss {loss:.3f}")
            stop_if_asked()

        yield report
