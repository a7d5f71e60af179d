"""Large bundles are compared with their checksums once, and again when anything about the file has changed."""

from __future__ import annotations

import os
import time

import pytest
import torch

from clnf_torch.files.archive import save_archive
from clnf_torch.models import verified
from clnf_torch.models.bundle import BundleError, load_bundle
from tests.files.archives import with_byte
from tests.models.test_bundle_schema import make_whole


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A bundle that counts as large, written long ago; notes go to a folder of the test."""
    monkeypatch.setattr(verified, "SMALL", 0)
    monkeypatch.setattr(verified, "user_cache", lambda: tmp_path / "cache")
    save_archive({**make_whole(), "numbers": torch.ones(1000)}, tmp_path / "m.pt")
    later = time.time() + 10
    monkeypatch.setattr(verified.time, "time", lambda: later)
    return tmp_path / "m.pt"


def reads(bundle, monkeypatch, **settings) -> bool:
    """Whether a load compares all of the file."""
    seen = []
    read = load_bundle.__globals__["read_archive"]
    monkeypatch.setitem(
        load_bundle.__globals__,
        "read_archive",
        lambda path, **named: seen.append(named["verify"]) or read(path, **named),
    )
    load_bundle(bundle, **settings)
    monkeypatch.setitem(load_bundle.__globals__, "read_archive", read)
    return seen[0]


def test_once_and_no_more(bundle, monkeypatch):
    assert reads(bundle, monkeypatch) and not reads(bundle, monkeypatch)
    assert reads(bundle, monkeypatch, verify=True) and not reads(bundle, monkeypatch, verify=False)


def test_again_when_the_file_changes(bundle, monkeypatch):
    load_bundle(bundle)
    before = bundle.stat()
    with_byte(bundle, "data/0")
    os.utime(bundle, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bundle.stat().st_size == before.st_size and bundle.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(BundleError, match="does not agree with its checksum"):
        load_bundle(bundle)


def test_a_file_that_was_just_written_is_not_remembered(bundle, monkeypatch):
    now = bundle.stat().st_ctime
    monkeypatch.setattr(verified.time, "time", lambda: now + 1)
    assert reads(bundle, monkeypatch) and reads(bundle, monkeypatch)


def test_small_files_are_read_every_time(bundle, monkeypatch):
    monkeypatch.setattr(verified, "SMALL", 1 << 20)
    assert reads(bundle, monkeypatch) and reads(bundle, monkeypatch)


def test_without_a_place_for_notes(bundle, monkeypatch):
    (bundle.parent / "cache").write_text("no folder")
    assert reads(bundle, monkeypatch) and reads(bundle, monkeypatch)


def test_a_note_that_is_damaged(bundle, monkeypatch):
    load_bundle(bundle)
    (note,) = (bundle.parent / "cache" / "clnf_torch" / "verified").iterdir()
    note.write_bytes(b"\xff\xfe")
    assert reads(bundle, monkeypatch) and not reads(bundle, monkeypatch)


def test_a_user_without_a_home_reads_all_each_time(bundle, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(verified, "user_cache", homeless)
    assert reads(bundle, monkeypatch) and reads(bundle, monkeypatch)
