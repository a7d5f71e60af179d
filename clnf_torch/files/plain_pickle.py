"""Reads pickles of plain values by interpreting their opcodes: nothing that a file names is looked up, made or called.

``pickle`` itself, even with a guarded ``find_class``, takes gigabytes for a file of ten bytes: a memo of a billion
entries, or a ``bytearray`` of any length. Here a value is never larger than what stands in the file for it.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

# Opcodes of one file; a CE-CLM model's bundle has 20,000, and these take a second
MOST_OPCODES = 400_000

_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
# Opcodes whose argument is the value
_LITERALS = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
}
_PUTS = {"BINPUT", "LONG_BINPUT", "PUT"}
_GETS = {"BINGET", "LONG_BINGET", "GET"}
_IGNORED = {"PROTO", "FRAME"}

Names = Mapping[tuple[str, str], Callable[..., Any]]
"""What stands for each module and name that a pickle may mention; called with the arguments that stand there."""


class PickleError(ValueError):
    """A pickle is damaged, or holds more than plain values."""


def read_pickle(stream: BinaryIO, names: Names, load_persistent: Callable[[Any], Any] | None = None) -> Any:
    """The value in a pickle.

    Args:
        stream: It is read up to the end of the pickle. An object may read on from it in its ``__setstate__``.
        names: The functions and classes that it may mention.
        load_persistent: Makes an object of the identifier that stands for it in the pickle.

    Raises:
        PickleError: The pickle is damaged, or holds anything else.
    """
    machine = _Machine(names, load_persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count == MOST_OPCODES:
                raise PickleError(f"more than {MOST_OPCODES:,} values")
            machine.run(opcode.name, argument)
        return machine.result()
    except PickleError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        raise PickleError(f"a damaged list of values ({error})") from error


class _Machine:
    """The stack, the stacks below its marks, and the memo."""

    def __init__(self, names: Names, load_persistent: Callable[[Any], Any] | None) -> None:
        self.names, self.load_persistent = names, load_persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Does what one opcode says."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name not in _IGNORED:
            action = getattr(self, f"_{name.lower()}", None)
            if action is None:
                raise PickleError(f"values of another kind ({name})")
            action(argument)

    def result(self) -> Any:
        """The value that is left at the end."""
        (value,) = self.stack
        return value

    def _stop(self, _: None) -> None:
        """The end."""

    def _memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _mark(self, _: None) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _marked(self) -> list[Any]:
        """What stands above the last mark, which goes."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def _empty_list(self, _: None) -> None:
        self.stack.append([])

    def _empty_dict(self, _: None) -> None:
        self.stack.append({})

    def _tuple(self, _: None) -> None:
        values = self._marked()
        self.stack.append(tuple(values))

    def _tuple1(self, _: None) -> None:
        self._gather(1)

    def _tuple2(self, _: None) -> None:
        self._gather(2)

    def _tuple3(self, _: None) -> None:
        self._gather(3)

    def _gather(self, count: int) -> None:
        """The last values become a tuple."""
        values = [self.stack.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def _append(self, _: None) -> None:
        value = self.stack.pop()
        _of_type(self.stack[-1], list).append(value)

    def _appends(self, _: None) -> None:
        values = self._marked()
        _of_type(self.stack[-1], list).extend(values)

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _of_type(self.stack[-1], dict)[key] = value

    def _setitems(self, _: None) -> None:
        values = self._marked()
        _of_type(self.stack[-1], dict).update(zip(values[::2], values[1::2], strict=True))

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._name(module, name)

    def _stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        """What stands for a name."""
        if (module, name) not in self.names:
            raise PickleError(f"the file asks for {module}.{name}, which is no plain value")
        self.stack.append(self.names[module, name])

    def _reduce(self, _: None) -> None:
        """A call; by the names alone, and so is `_newobj`."""
        arguments, call = self.stack.pop(), self.stack.pop()
        if not any(call is known for known in self.names.values()):
            raise PickleError("a call of something that is no name")
        self.stack.append(call(*_of_type(arguments, tuple)))

    _newobj = _reduce

    def _build(self, _: None) -> None:
        """The state of an object; dictionaries have none that matters."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            self.stack[-1].__setstate__(state)

    def _binpersid(self, _: None) -> None:
        if self.load_persistent is None:
            raise PickleError("a reference to something outside")
        self.stack.append(self.load_persistent(self.stack.pop()))


def _of_type(value: Any, kind: type) -> Any:
    """A value that a pickle changes; of no other type than it says."""
    if not isinstance(value, kind):
        raise PickleError(f"expected a {kind.__name__}, found a {type(value).__name__}")
    return value
