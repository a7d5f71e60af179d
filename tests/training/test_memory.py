"""Freed memory is kept where the C library can be told so."""

import sys

from clnf_torch.training.trainer import keep_freed_memory


def test_it_says_whether_it_works(monkeypatch):
    assert keep_freed_memory() in (True, False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_freed_memory() is False
