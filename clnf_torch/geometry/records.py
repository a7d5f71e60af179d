"""Rows of records: dataclasses and dictionaries of tensors, each tensor with one row per face."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from clnf_torch.geometry.frames import as_tensor
from clnf_torch.geometry.host import is_readable

Record = TypeVar("Record")
Own = TypeVar("Own", bound="Rows")
Kind = TypeVar("Kind", bound=type)


def loadable(kind: Kind) -> Kind:
    """Lets ``torch.load`` make records of a class again of what ``torch.save`` wrote, as it is called by default.

    With ``weights_only=True`` it makes none but of classes that are known to be harmless, as records of tensors and
    settings are.
    """
    torch.serialization.add_safe_globals([kind])
    return kind


class Rows:
    """Base of dataclasses that are a table: every field has one row per face, the first one in all cases.

    Fields are tensors, records, dictionaries of them, or None. All of them are `loadable`.
    """

    def __init_subclass__(cls) -> None:
        """See `loadable`."""
        loadable(cls)

    def __len__(self) -> int:
        """Number of rows."""
        return len(getattr(self, _names(type(self))[0]))

    def __getitem__(self: Own, rows: Any) -> Own:
        """The rows of these numbers, or those where a mask is true, or a slice of them; of one number without its axis.

        Raises:
            IndexError: There are no such rows, or the mask has another length.
            TypeError: It is none of these.
        """
        return take_rows(self, row_index(rows, len(self)))

    def where(self: Own, keep: Tensor, other: Own) -> Own:
        """These rows where `keep` (B,) is true, those of `other` in the rest."""
        return where_rows(keep, self, other)


def map_tensors(function: Callable[..., Tensor], record: Record, *others: Record) -> Record:
    """A record of what a function makes of the tensors that have the same place in several records; None stays None."""
    mapped: Any
    if record is None:
        mapped = None
    elif isinstance(record, Tensor):
        mapped = function(record, *others)
    elif isinstance(record, dict):
        mapped = {key: map_tensors(function, value, *(o[key] for o in _any(others))) for key, value in record.items()}
    else:
        records = record, *others
        values = {name: [getattr(each, name) for each in records] for name in _names(type(record))}
        mapped = type(record)(**{name: map_tensors(function, *value) for name, value in values.items()})
    return mapped


def _names(kind: Any) -> tuple[str, ...]:
    """The fields of a kind of records, which have no others; `dataclasses.fields` takes as long as an operation."""
    return tuple(kind.__dataclass_fields__)


def row_index(rows: Any, count: int) -> Any:
    """What tensors with so many rows are indexed by, from all that an array of one axis may be indexed by.

    Args:
        rows: A whole number; a slice, also from the end; whole numbers, as a list, tuple, array or tensor; or a mask.
        count: Number of rows.

    Returns:
        A number, a slice with a positive step, or a tensor of whole numbers or a mask.

    Raises:
        IndexError: A mask has another length.
        TypeError: It is none of these.
    """
    if isinstance(rows, slice):
        forward = rows.step is None or rows.step > 0
        return rows if forward else torch.tensor(range(count)[rows], dtype=torch.int64, device="cpu")
    one = not getattr(rows, "ndim", 0) and hasattr(rows, "__index__")
    if one and not isinstance(rows, Tensor) and not isinstance(rows, bool):
        return operator.index(rows)
    try:
        index = as_tensor("rows", list(rows) if isinstance(rows, range) else rows)
    except ValueError as error:
        raise TypeError(f"{error}, a number, a slice or a mask") from None
    if not index.numel() and index.dtype != torch.bool:
        # An empty list is one of floating point numbers to torch
        index = index.long()
    mask, whole = index.dtype == torch.bool, not index.is_floating_point() and not index.is_complex()
    if not whole or index.ndim > 1 or (mask and not index.ndim):
        found = f"{str(index.dtype).removeprefix('torch.')} of shape {tuple(index.shape)}"
        raise TypeError(f"rows are {found}; expected a number, a slice, whole numbers (K,) or a mask ({count},)")
    if mask and len(index) != count:
        raise IndexError(f"a mask of {len(index)} values chooses among {count} rows; expected one for each")
    return index if mask else index.long()


def take_rows(record: Record, rows: Tensor | slice | list[int]) -> Record:
    """The rows of these numbers, or those where a mask is true, or a slice of them."""
    return map_tensors(lambda values: values[rows], record)


def take_in_order(record: Record, rows: Tensor) -> Record:
    """As `take_rows`, of rows (K,) that are most often all of them in their order: then the record itself."""
    if is_readable(rows) and torch.equal(rows, torch.arange(_count(record), device=rows.device)):
        return record
    return take_rows(record, rows)


def copy_in_order(record: Record, rows: Tensor) -> Record:
    """As `take_rows`, of rows (K,) that are most often all of them in their order: a copy takes less than a choice."""
    taken = take_in_order(record, rows)
    return map_tensors(Tensor.clone, record) if taken is record else taken


def take_listed(record: Record, rows: Sequence[int]) -> Record:
    """As `take_rows`, of rows that the host knows; those that follow each other are a view: nothing is sent."""
    first = rows[0] if rows else 0
    if list(rows) == list(range(first, first + len(rows))):
        whole = first == 0 and len(rows) == _count(record)
        return record if whole else take_rows(record, slice(first, first + len(rows)))
    return take_rows(record, torch.tensor(rows, device=_first(record).device))


def _count(record: object) -> int:
    """Number of rows of a record."""
    return _first(record).shape[0]


def _first(record: object) -> Tensor:
    """The first tensor of a record."""
    while not isinstance(record, Tensor):
        record = next(iter(record.values())) if isinstance(record, dict) else getattr(record, _names(type(record))[0])
    return record


def rows_where(mask: Tensor, count: int) -> Tensor:
    """The numbers of the rows where a mask (B,) is true, of which the host knows how many there are; int64."""
    if is_readable(mask):
        return mask.nonzero().squeeze(1)
    return (~mask).to(torch.uint8).sort(stable=True).indices[:count]


def put_rows(record: Record, rows: Tensor, update: Record) -> Record:
    """The record, with other contents in the rows of these numbers (K,)."""
    return map_tensors(lambda values, new: values.index_copy(0, rows, new.to(values)), record, update)


def where_rows(keep: Tensor, record: Record, other: Record) -> Record:
    """The record in the rows where `keep` is true, and another one in the rest."""
    # Most often every row is kept, and to see that takes less than to copy them
    if not torch.is_grad_enabled() and is_readable(keep) and bool(keep.all()):
        return record
    return map_tensors(lambda a, b: torch.where(keep.view(-1, *[1] * (a.ndim - 1)), a, b.to(a)), record, other)


def join_rows(record: Record, *others: Record) -> Record:
    """The rows of several records, one after the other."""
    return map_tensors(lambda *values: torch.cat(values), record, *others)


def to_plain(record: object) -> Any:
    """A record as dictionaries of tensors on the CPU, for ``torch.save``; `from_plain` reads them back."""
    if record is None:
        return None
    if isinstance(record, Tensor):
        values = record.detach().cpu().contiguous()
        # A file would hold all that a view is of
        return values if values.untyped_storage().nbytes() == values.nbytes else values.clone()
    if isinstance(record, dict):
        return {key: to_plain(value) for key, value in record.items()}
    return {name: to_plain(getattr(record, name)) for name in _names(type(record))}


def from_plain(like: Record, plain: Any) -> Record:
    """The record from `to_plain`, to the last bit.

    Args:
        like: A record of the same kind, with any number of rows; the tensors come to its device.
        plain: What `to_plain` made.

    Raises:
        ValueError: It is of another kind: names, types or sizes behind the rows differ.
    """
    found: Any
    if isinstance(like, Tensor):
        if not isinstance(plain, Tensor) or plain.dtype != like.dtype or plain.shape[1:] != like.shape[1:]:
            raise ValueError(f"expected {like.dtype} of shape (rows, *{list(like.shape[1:])}), found something else")
        found = plain.to(like.device)
    elif like is None:
        found = None
    else:
        mapping = isinstance(like, dict)
        names = list(_any(like)) if mapping else list(_names(type(like)))
        if not isinstance(plain, dict) or list(plain) != names:
            raise ValueError(f"expected {', '.join(map(str, names))}, found something else")
        values = {name: from_plain(_any(like)[name] if mapping else getattr(like, name), plain[name]) for name in names}
        found = values if mapping else replace(_any(like), **values)
    return found


def _any(value: object) -> Any:
    """A value of whatever type."""
    return value
