"""Rows of nested records: taken, put, chosen and joined, each field alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from clnf_torch.geometry.records import (
    Rows,
    copy_in_order,
    from_plain,
    join_rows,
    put_rows,
    take_in_order,
    take_listed,
    take_rows,
    to_plain,
    where_rows,
)
from tests.transfers import count_transfers


@dataclass(frozen=True)
class Inner:
    flags: Tensor


@dataclass(frozen=True)
class Record(Rows):
    numbers: Tensor
    table: dict[str, Inner]
    absent: Tensor | None = None


def record(*numbers: float) -> Record:
    values = torch.tensor(numbers, dtype=torch.float32)
    return Record(torch.stack((values, -values), dim=-1), {"part": Inner(values > 2)})


def assert_same(found: Record, expected: Record):
    assert torch.equal(found.numbers, expected.numbers)
    assert torch.equal(found.table["part"].flags, expected.table["part"].flags)


def test_taken():
    assert_same(take_rows(record(1, 2, 3), torch.tensor([2, 0])), record(3, 1))
    assert_same(take_rows(record(1, 2, 3), torch.tensor([False, True, True])), record(2, 3))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (slice(None, None, -1), [3, 2, 1]),
        (slice(-1, -3, -1), [3, 2]),
        (slice(0, 3, -1), []),
        (slice(2, 1), []),
        (slice(None, 99, 2), [1, 3]),
        ([True, False, True], [1, 3]),
        ((True, False, True), [1, 3]),
        (np.array([False, False, True]), [3]),
        ([False] * 3, []),
        ([2, 0, -1], [3, 1, 3]),
        ((2, 0), [3, 1]),
        (np.array([0, 2])[::-1], [3, 1]),
        (np.array([0, 2], np.uint8), [1, 3]),
        (torch.tensor([1], dtype=torch.int32), [2]),
        (range(2), [1, 2]),
        ([], []),
        ((), []),
        (np.zeros(0), []),
    ],
)
def test_rows_are_those_of_an_array_of_one_axis(rows, expected):
    assert_same(record(1, 2, 3)[rows], record(*expected))


def test_a_single_number_leaves_the_axis_out():
    for number in (1, -2, np.int64(1), torch.tensor(1)):
        assert record(1, 2, 3)[number].numbers.tolist() == [2, -2]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([0.5], TypeError, r"rows are float32 of shape \(1,\); expected a number, a slice, whole numbers"),
        (True, TypeError, "rows are of type bool"),
        (torch.tensor(True), TypeError, r"rows are bool of shape \(\)"),
        (torch.ones(3, 1, dtype=torch.bool), TypeError, r"rows are bool of shape \(3, 1\)"),
        ("numbers", TypeError, "rows are of type str"),
        (None, TypeError, "rows are of type NoneType"),
        ([True], IndexError, "a mask of 1 values chooses among 3 rows"),
        ([5], IndexError, "out of bounds"),
        (3, IndexError, "out of bounds"),
    ],
)
def test_what_is_no_row_is_refused(rows, error, message):
    with pytest.raises(error, match=message):
        record(1, 2, 3)[rows]


def test_taken_in_order():
    whole = record(4, 5, 6)
    assert take_in_order(whole, torch.arange(3)) is whole
    for rows in ([0, 2], [0, 2, 1], [0, 0, 0], [0, 1, 2, 2], []):
        index = torch.tensor(rows, dtype=torch.int64)
        assert_same(take_in_order(whole, index), take_rows(whole, index))
        assert_same(copy_in_order(whole, index), take_rows(whole, index))


def test_copied_in_order():
    whole = record(4, 5, 6)
    found = copy_in_order(whole, torch.arange(3))
    assert_same(found, whole)
    found.numbers.zero_()
    assert_same(whole, record(4, 5, 6))


def test_put():
    before = record(1, 2, 3)
    assert_same(put_rows(before, torch.tensor([2, 0]), record(7, 8)), record(8, 2, 7))
    assert_same(before, record(1, 2, 3))


def test_chosen():
    keep = torch.tensor([True, False, True])
    assert_same(where_rows(keep, record(1, 2, 3), record(7, 8, 9)), record(1, 8, 3))
    every = torch.ones(3, dtype=torch.bool)
    for graph in (torch.enable_grad, torch.inference_mode):
        with graph():
            assert_same(where_rows(every, record(1, 2, 3), record(7, 8, 9)), record(1, 2, 3))
            assert_same(where_rows(~every, record(1, 2, 3), record(7, 8, 9)), record(7, 8, 9))


def test_joined():
    assert_same(join_rows(record(1), record(2, 3), record()), record(1, 2, 3))


def test_a_record_is_a_table():
    assert len(record(1, 2, 3)) == 3
    assert_same(record(1, 2, 3)[1:], record(2, 3))
    assert_same(record(1, 2, 3)[[2, 0]], record(3, 1))
    assert_same(record(1, 2).where(torch.tensor([False, True]), record(7, 8)), record(7, 2))


def test_what_is_not_known_stays_unknown():
    assert record(1, 2)[:1].absent is None and join_rows(record(1), record(2)).absent is None


def test_numbers_keep_their_type():
    wide = Record(torch.ones(1, 2, dtype=torch.float64), {"part": Inner(torch.tensor([1.0]))})
    found = put_rows(record(5), torch.tensor([0]), wide)
    assert found.numbers.dtype == torch.float32 and found.table["part"].flags.dtype == torch.bool


def test_plain_values_make_the_record_again():
    plain = to_plain(record(1.0, 2.0, 3.0))
    assert_same(from_plain(record(), plain), record(1.0, 2.0, 3.0))


@pytest.mark.parametrize("other", [None, {}, 5, {"numbers": torch.zeros(3)}])
def test_plain_values_of_another_kind_are_refused(other):
    with pytest.raises(ValueError, match="found something else"):
        from_plain(record(1.0), other)


def test_plain_tensors_of_another_type_are_refused():
    plain = to_plain(record(1.0))
    name = next(name for name, value in plain.items() if isinstance(value, Tensor))
    with pytest.raises(ValueError, match="found something else"):
        from_plain(record(1.0), plain | {name: plain[name].to(torch.complex64)})


def test_rows_that_the_host_knows():
    """Those that follow each other are a view, for which a card is sent nothing."""
    record = {"a": torch.arange(5), "b": torch.rand(5, 2)}
    assert take_listed(record, range(5)) is record
    for rows in ([], [0], [1, 2, 3], [4]):
        counted = count_transfers(lambda rows=rows: take_listed(record, rows))
        assert not counted.launches and not counted.to_device
        assert take_listed(record, rows)["a"].tolist() == rows
    counted = count_transfers(lambda: take_listed(record, [0, 3]))
    assert counted.to_device == {"tensor": 1} and take_listed(record, [0, 3])["a"].tolist() == [0, 3]


def test_what_is_saved_of_some_rows_is_no_more_than_they_are():
    plain = to_plain({"a": torch.rand(100, 3)[4:6]})
    assert plain["a"].untyped_storage().nbytes() == plain["a"].nbytes == 24
