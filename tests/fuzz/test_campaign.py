"""The campaign itself: a reader with planted faults, each of which must be found, counted and kept."""

from __future__ import annotations

import mmap
import os
import random
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.campaign import Campaign
from tests.fuzz.cases import Bench
from tests.fuzz.formats import Format
from tests.fuzz.mutations import mutate_bytes

if sys.platform != "linux":
    pytest.skip("memory is measured by Linux's /proc", allow_module_level=True)

# What the first byte of a planted file makes its reader do
BEHAVIOURS = ("accept", "refuse", "talk", "raise", "lie", "die")


class Refusal(ValueError):
    """The planted reader's refusal."""


def prepare(folder: Path) -> list[Path]:
    (folder / "planted.bin").write_bytes(bytes(range(64)))
    return [folder / "planted.bin"]


def use(path: Path) -> None:
    behaviour = BEHAVIOURS[path.read_bytes()[0] % len(BEHAVIOURS)]
    if behaviour == "refuse":
        raise Refusal("no such thing")
    if behaviour == "talk":
        raise Refusal("word " * 100)
    if behaviour == "raise":
        raise KeyError("format")
    if behaviour == "die":
        os._exit(9)
    assert behaviour != "lie", "success with landmarks that are not finite"


def mutate(content: bytes, rng: random.Random) -> bytes:
    return bytes([rng.randrange(len(BEHAVIOURS))]) + content[1:]


PLANTED = Format(name="planted", prepare=prepare, use=use, refusals=(Refusal,), mutate=mutate)
FORMATS = (PLANTED,)


@pytest.mark.parametrize(
    ("behaviour", "verdict", "words"),
    [
        ("accept", "accepted", ""),
        ("refuse", "refused", "no such thing"),
        ("talk", "fault", "a message of 500 characters"),
        ("raise", "fault", "KeyError: 'format'"),
        ("lie", "fault", "not finite"),
    ],
)
def test_a_use_is_judged(tmp_path, behaviour, verdict, words):
    bench = Bench(PLANTED, tmp_path)
    ((path, content),) = bench.files
    outcome = bench.run(path, bytes([BEHAVIOURS.index(behaviour)]))
    assert outcome.verdict == verdict and words in outcome.message
    assert path.read_bytes() == content


def test_slow_and_large_uses_are_faults(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz.cases.SECONDS", 0.05)
    monkeypatch.setattr("tests.fuzz.cases.FLOOR", 20 << 20)

    def slow(path: Path) -> None:
        ends = time.process_time() + 0.1
        while time.process_time() < ends:
            pass

    def large(path: Path) -> None:
        # Not from the heap, where earlier tests may have left as much
        with mmap.mmap(-1, 60 << 20) as memory:
            memory.write(b"x" * (60 << 20))

    for number, (bad, words) in enumerate(((slow, "took 0."), (large, "MB for 1 bytes"))):
        bench = Bench(Format(name="bad", prepare=prepare, use=bad, refusals=()), tmp_path / str(number))
        outcome = bench.run(bench.files[0][0], b"\0")
        assert outcome.verdict == "fault" and words in outcome.message


def test_a_campaign_survives_deaths_and_keeps_faults(tmp_path):
    tally = Campaign(seed=1, processes=1, out=tmp_path).run(PLANTED, seconds=60, count=12)
    assert tally.count == 12
    planned = [Bench(PLANTED, tmp_path / f"again{n}").damaged(1, n)[1][0] for n in range(12)]
    expected = {n for n, first in enumerate(planned) if BEHAVIOURS[first] not in ("accept", "refuse")}
    assert set(tally.faults) == expected and any(BEHAVIOURS[first] == "die" for first in planned)
    assert {int(file.stem.split("-")[1]) for file in (tmp_path / "planted").glob("*.message")} == expected
    assert (tmp_path / "planted" / f"1-{min(expected)}-planted.bin").read_bytes()[0] == planned[min(expected)]


def test_damage_is_the_same_for_the_same_seed():
    content = bytes(range(256)) * 4
    made = [mutate_bytes(content, random.Random(number)) for number in range(50)]
    assert made == [mutate_bytes(content, random.Random(number)) for number in range(50)]
    assert len(set(made)) > 45 and all(mutate_bytes(b"", random.Random(number)) is not None for number in range(50))
