"""2,000 damaged files: each converts or is refused in one line, soon, and in little memory.

The changes are the same in every run (``derandomize``); without it, and with more ``max_examples``, they look further.
"""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clnf_torch.converters import ConversionError, convert
from clnf_torch.converters.openface.cen import read_cen
from clnf_torch.converters.openface.cen_stacks import convert_cen
from clnf_torch.converters.openface.landmark_model import convert_early_termination, convert_triangulations
from clnf_torch.converters.openface.pdm import convert_pdm
from clnf_torch.files.archive import LazyTensor
from tests.converters.model_directory import EARLY_TERMINATION, TRIANGULATIONS, write_model
from tests.converters.openface_files import POINTS, cen_pieces

FLOOR = 256 << 10  # bytes that Python itself may take, whatever the file's size
FACTOR = 4  # the most that a converter may take, in sizes of the file

INTEGERS = [0, 1, -1, 2, 3, 4, 5, 6, 7, 11, 12, 68, 122, 255, 65536, 2**24, 2**30, 2**31 - 1, -(2**31)]
DOUBLES = [0.0, -0.0, 1e-320, 1e30, 1e300, float("inf"), float("-inf"), float("nan")]
WORDS = [
    b"-1",
    b"0",
    b"3",
    b"99999999999",
    b"1e999",
    b"nan",
    b"#",
    b"\n",
    b" ",
    b"\r\n",
    b"../..",
    b"PDM",
    b"PatchesCEN",
    b"\0",
]

Edit = Callable[[bytes], bytes]


def at(content: bytes, where: float) -> int:
    return int(where * len(content))


def put(where: float, new: bytes) -> Edit:
    return lambda old: old[: at(old, where)] + new + old[at(old, where) + len(new) :]


def insert(where: float, new: bytes) -> Edit:
    return lambda old: old[: at(old, where)] + new + old[at(old, where) :]


def cut(where: float, count: int) -> Edit:
    return lambda old: old[: at(old, where)] + old[at(old, where) + count :]


def truncate(where: float, count: int) -> Edit:
    return lambda old: old[: at(old, where)]


def repeat(where: float, count: int) -> Edit:
    return lambda old: old[: at(old, where) + count] + old[at(old, where) :]


def flip(where: float, bit: int) -> Edit:
    return lambda old: put(where, bytes([old[at(old, where)] ^ 1 << bit % 8]))(old) if old else old


PLACES = st.one_of(st.floats(0, 1, exclude_max=True), st.floats(0, 0.05))  # headers lie in front
NUMBERS = st.one_of(
    st.sampled_from([struct.pack("<i", value) for value in INTEGERS]),
    st.sampled_from([struct.pack("<d", value) for value in DOUBLES]),
    st.binary(min_size=1, max_size=12),
)
COUNTS = st.integers(1, 200)
SHAPES = st.one_of(
    st.builds(truncate, PLACES, COUNTS),
    st.builds(cut, PLACES, COUNTS),
    st.builds(repeat, PLACES, COUNTS),
    st.builds(flip, PLACES, COUNTS),
)
BINARY_EDITS = st.lists(
    st.one_of(st.builds(put, PLACES, NUMBERS), st.builds(insert, PLACES, NUMBERS), SHAPES), min_size=1, max_size=4
)
TEXT = st.one_of(st.sampled_from(WORDS), st.binary(min_size=1, max_size=6))
TEXT_EDITS = st.lists(
    st.one_of(st.builds(put, PLACES, TEXT), st.builds(insert, PLACES, TEXT), SHAPES), min_size=1, max_size=4
)


def mutations(examples: int) -> Callable:
    return settings(
        max_examples=examples,
        deadline=10_000,  # milliseconds: no file hangs the converter
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mutations")


def changed(content: bytes, edits: list[Edit]) -> bytes:
    for edit in edits:
        content = edit(content)
    return content


def lazy_tensors(value: Any) -> Iterator[LazyTensor]:
    if isinstance(value, LazyTensor):
        yield value
    elif isinstance(value, (dict, list)):
        for child in value.values() if isinstance(value, dict) else value:
            yield from lazy_tensors(child)


def convert_cen_file(path: Path, points: int) -> int:
    """Converts a CEN file; returns the largest tensor, which tracemalloc does not see."""
    cen = read_cen(path, points)
    record, largest = convert_cen([cen], half=False), 0
    for lazy in lazy_tensors(record):
        largest = max(largest, lazy.nbytes)
        assert largest <= FACTOR * path.stat().st_size + FLOOR  # before it is made
        lazy.make()
    return largest


def check(path: Path, content: bytes, read: Callable[[Path], Any]) -> None:
    """Reads a damaged file: a value or a ConversionError of one line, in bounded memory."""
    path.write_bytes(content)
    unseen = 0
    tracemalloc.start()
    try:
        result = read(path)
        unseen = result if isinstance(result, int) else 0
    except ConversionError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak + unseen <= FACTOR * len(content) + FLOOR


SMALL_CEN = b"".join(cen_pieces().values())


@mutations(900)
@given(edits=BINARY_EDITS)
def test_small_cen_file(folder, edits):
    check(folder / "cen.dat", changed(SMALL_CEN, edits), lambda path: convert_cen_file(path, POINTS))


@mutations(150)
@given(scale=st.sampled_from(["0.25", "0.35", "0.50", "1.00"]), edits=BINARY_EDITS)
def test_free_cen_files(folder, golden_dir, scale, edits):
    content = (golden_dir / "free_model" / f"cen_patches_{scale}_of.dat").read_bytes()
    check(folder / "cen.dat", changed(content, edits), lambda path: convert_cen_file(path, 68))


@mutations(200)
@given(edits=TEXT_EDITS)
def test_free_pdm(folder, golden_dir, edits):
    content = (golden_dir / "free_model" / "pdm.txt").read_bytes()
    check(folder / "pdm.txt", changed(content, edits), convert_pdm)


@mutations(200)
@given(edits=TEXT_EDITS)
def test_triangulations(folder, edits):
    check(
        folder / "tris.txt", changed(TRIANGULATIONS.encode(), edits), lambda path: convert_triangulations(path, POINTS)
    )


@mutations(200)
@given(edits=TEXT_EDITS)
def test_early_termination(folder, edits):
    check(
        folder / "early.txt",
        changed(EARLY_TERMINATION.encode(), edits),
        lambda path: convert_early_termination(path, 3),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("described") / "model", mixed=False).parent


@mutations(350)
@given(name=st.sampled_from(["main_ceclm_general.txt", "cen.txt"]), edits=TEXT_EDITS)
def test_descriptions(model, folder, name, edits):
    """A whole conversion: it gives a bundle, or nothing."""
    intact, out = (model / name).read_bytes(), folder / "out" / "m.pt"
    out.parent.mkdir(exist_ok=True)
    try:
        (model / name).write_bytes(changed(intact, edits))
        convert(model, out)
        out.unlink()
    except ConversionError as error:
        assert "\n" not in str(error)
    finally:
        (model / name).write_bytes(intact)
    assert not list(out.parent.iterdir())
