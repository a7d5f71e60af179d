"""`clnf_torch.compilation.loop_cache`: what is compiled is kept, and said; what cannot be kept or read ends no fit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

numba = pytest.importorskip("numba", reason="the compiled loops need numba")

from clnf_torch.compilation import conditions, loop_cache  # noqa: E402
from clnf_torch.compilation.compiler import compiled  # noqa: E402

ADD = """
from clnf_torch.compilation.compiler import compiled, compiled_exactly

@compiled
def add(one, other):
    return one + other

@compiled_exactly
def multiply(one, other):
    return one * other

print(add(1, 2), multiply(2.0, 3.0))
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing was said before."""
    conditions.warn_once.cache_clear()
    yield
    conditions.warn_once.cache_clear()


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """Where loops are kept."""
    monkeypatch.setattr(loop_cache, "kernels_folder", lambda: tmp_path / "cache" / "kernels-0")
    return tmp_path / "cache" / "kernels-0"


def add(one: Any, other: Any) -> Any:
    return one + other


def new_process() -> Callable[..., Any]:
    """The loop as a process that begins has it."""
    conditions.warn_once.cache_clear()
    return compiled(add)


def compilations(loop: Any) -> int:
    """For how many types a loop was compiled, not read."""
    return sum(loop.stats.cache_misses.values())


def test_the_first_process_says_once_that_it_compiles_and_later_ones_say_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(ADD)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    first, second = (
        subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert first.stdout == second.stdout == "3 6.0\n"
    (line,) = first.stderr.splitlines()
    assert line.startswith("compiling loops for this processor, which takes a minute")
    assert line.endswith(str(tmp_path / "cache"))
    assert second.stderr == ""


def test_loops_that_cannot_be_kept_are_warned_of_once_and_kept_nowhere_else(folder, caplog):
    folder.parent.write_text("a file where the folder was to be")
    for _ in range(2):
        caplog.clear()
        loop = new_process()
        assert loop(1, 2) == 3 and loop(1.5, 2.0) == 3.5 and compilations(loop) == 2
        (record,) = caplog.records
        assert record.name == "clnf_torch"
        assert record.getMessage().startswith("compiled loops cannot be kept (Not a directory)")
        assert "every process compiles them anew" in record.getMessage() and "NUMBA_CACHE_DIR" in record.getMessage()
    assert not list((Path(__file__).parent / "__pycache__").glob("test_loop_cache.add*.nb?"))


def refuse(*arguments: Any) -> None:
    raise OSError(30, "Read-only file system")


def test_what_is_kept_is_read_where_nothing_can_be_written(folder, caplog, monkeypatch):
    new_process()(1, 2)
    caplog.clear()
    monkeypatch.setattr(loop_cache._Place, "ensure_cache_path", refuse)
    loop = new_process()
    assert loop(1, 2) == 3 and compilations(loop) == 0 and not caplog.records


def test_a_disk_that_is_full_ends_no_fit(folder, caplog, monkeypatch):
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", refuse)
    assert new_process()(1, 2) == 3
    begun, not_kept = (record.getMessage() for record in caplog.records)
    assert begun.startswith("compiling loops") and not_kept.startswith("compiled loops cannot be kept (Read-only")


@pytest.mark.parametrize("damaged", ["*.nbc", "*.nbi"])
def test_files_that_are_cut_short_are_made_anew(folder, caplog, damaged):
    new_process()(1, 2)
    for file in folder.rglob(damaged):
        file.write_bytes(b"")
    caplog.clear()
    loop = new_process()
    assert loop(1, 2) == 3 and compilations(loop) == 1
    assert [record.getMessage()[:15] for record in caplog.records] == ["compiling loops"]
    later = new_process()
    assert later(1, 2) == 3 and compilations(later) == 0


def test_what_was_compiled_for_other_types_is_not_called(folder):
    """Two processes that compile a function at once, each for types of its own, may name both results alike."""
    loop = new_process()
    loop(1, 2), loop(1.5, 2.0)
    one, other = sorted(folder.rglob("*.nbc"))
    other.write_bytes(one.read_bytes())
    later = new_process()
    assert later(1.5, 2.0) == 3.5 and compilations(later) == 1


def test_a_user_without_a_home_compiles_in_every_process(caplog, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(loop_cache, "kernels_folder", homeless)
    assert new_process()(1, 2) == 3
    (record,) = caplog.records
    assert record.getMessage().startswith("compiled loops cannot be kept (RuntimeError: Could not determine home")


def test_numbas_own_folder_stays(folder):
    before = numba.config.CACHE_DIR
    new_process()(1, 2)
    assert numba.config.CACHE_DIR == before
