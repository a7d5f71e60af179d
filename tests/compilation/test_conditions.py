"""`clnf_torch.compilation.conditions`: why there are no compiled loops is said, and when a thread is alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib import import_module

import pytest

from clnf_torch.cli.runs import info
from clnf_torch.compilation import conditions
from clnf_torch.compilation.conditions import OWN_THREADS, alone, load_kernels, why_not_loaded
from clnf_torch.fitting import compiled


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing is known of what was loaded or said before."""
    for known in (conditions._loaded, conditions.warn_once):
        known.cache_clear()
    yield
    for known in (conditions._loaded, conditions.warn_once):
        known.cache_clear()


def refuse(monkeypatch, error: Exception) -> None:
    """No module of kernels can be imported."""

    def import_module(name):
        raise error

    monkeypatch.delenv(conditions.SWITCH, raising=False)
    monkeypatch.setattr(conditions, "import_module", import_module)


def test_a_compiler_that_is_not_installed_is_nothing_to_warn_of(monkeypatch, caplog):
    refuse(monkeypatch, ModuleNotFoundError("No module named 'numba'", name="numba"))
    assert load_kernels("a") is None and why_not_loaded("a") == "numba is not installed"
    assert not caplog.records


@pytest.mark.parametrize("error", [ImportError("Numba needs NumPy 2.3 or less\nand more"), OSError("libLLVM.so")])
def test_a_compiler_that_cannot_be_imported_is_warned_of_once(monkeypatch, caplog, error):
    refuse(monkeypatch, error)
    for module in ("a", "b", "a"):
        assert load_kernels(module) is None
    reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert why_not_loaded("a") == reason
    (record,) = caplog.records
    assert record.name == "clnf_torch" and record.getMessage().endswith(f"take their place: {reason}")


def test_a_card_whose_programs_do_not_start_is_warned_of_once(monkeypatch, caplog):
    pytest.importorskip("triton", minversion="3.3", reason="programs for cards need Triton from 3.3 on")
    cards = import_module("clnf_torch.compilation.cards")
    torch = cards.torch

    class Trial:
        def __getitem__(self, grid):
            raise RuntimeError("Failed to find C compiler.\nPlease specify one")

    monkeypatch.setattr(cards, "_trial", Trial())
    for _ in range(2):
        assert not cards.works(torch.device("cpu"))
    (record,) = caplog.records
    assert record.name == "clnf_torch"
    assert record.getMessage().endswith("run instead: RuntimeError: Failed to find C compiler.")


def test_info_says_on_which_devices_loops_are_compiled(monkeypatch):
    monkeypatch.setattr(compiled.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(compiled, "why_not_loaded", lambda module: "")
    assert info.describe_loops() == "  compiled loops     cpu: yes; cuda: no, there is no device"
    monkeypatch.setattr(compiled.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(compiled, "why_not_loaded", lambda module: f"{module.split('.')[3]} is missing")
    assert info.describe_loops() == "  compiled loops     cpu: no, cpu is missing; cuda: no, cuda is missing"


def test_info_says_why_programs_do_not_start_on_a_card(monkeypatch):
    pytest.importorskip("triton", reason="programs for cards need Triton")
    from clnf_torch.fitting.kernels.cuda import launch

    monkeypatch.setattr(compiled.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch, "obstacle", lambda device: "RuntimeError: no C compiler")
    assert info.describe_loops().endswith("cuda: no, RuntimeError: no C compiler")


def test_a_thread_is_alone_among_those_of_the_package(monkeypatch):
    # Whatever threads the tests have
    here = [threading.current_thread()]
    monkeypatch.setattr(threading, "enumerate", lambda: [*here, *others])
    others: list[threading.Thread] = []
    assert alone()
    others = [threading.Thread(name=f"{OWN_THREADS} loops_0")]
    assert alone()
    others = [threading.Thread(name="another")]
    assert not alone()
