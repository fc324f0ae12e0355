"""The pickles in PyTorch files: a table of tensors, read without unpickling.

No unpickler runs. ``pickletools`` splits the pickle into opcodes, and only those of
which a table of tensors consists are interpreted, with values of this module. A pickle
that names any other function or class is refused; it is never imported or called.
"""

import dataclasses
import io
import pickletools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

# The storage types that are read, by their name in the module torch.
_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

# The functions and classes that a pickle may name.
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}" for name in _STORAGES),
}

# Bytes of the longest pickle that is read. That of an 18-layer network has 20 kB.
_MAX_BYTES = 1 << 24

_MAX_AXES = 8


@dataclasses.dataclass(eq=False)
class Storage:
    """The numbers of one or several tensors.

    Attributes:
      key: name of its data in the file.
      dtype: type of the numbers.
      length: number of numbers.
      data: the numbers, [length], once they have been found in the file.
    """

    key: str
    dtype: np.dtype
    length: int
    data: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor: a part of a storage.

    Attributes:
      storage: its numbers.
      offset: position of the first number in the storage.
      shape: of the tensor.
      strides: distance in the storage between neighbours, by axis.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Returns the tensor as a read-only view of its storage.

        Raises:
          ValueError: if the data of the storage are missing.
        """
        if self.storage.data is None:
            raise ValueError(f"the data of the storage {self.storage.key} are missing")
        return np.lib.stride_tricks.as_strided(
            self.storage.data[self.offset :],
            self.shape,
            [stride * self.storage.dtype.itemsize for stride in self.strides],
            writeable=False,
        )


@dataclasses.dataclass(frozen=True)
class _Global:
    """A function or class that the pickle names, which is not imported."""

    name: str


def parse(content: bytes | memoryview, start: int = 0) -> tuple[Any, int]:
    """Reads one pickle.

    Args:
      content: the bytes of a file.
      start: position of the pickle in it.

    Returns:
      Its value, in which tensors are ``Tensor``, and the position after its end.

    Raises:
      ValueError: if it is damaged, too long, or not a table of tensors.
    """
    file = io.BytesIO(content[start : start + _MAX_BYTES])
    value = _Interpreter().run(file)
    return value, start + file.tell()


class _Interpreter:
    """Interprets the opcodes of one pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, Storage] = {}

    def run(self, file: io.BytesIO) -> Any:
        """Returns the value of the pickle in a file."""
        try:
            # Of strings with invalid escapes, in damaged pickles
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                for opcode, argument, _ in pickletools.genops(file):
                    if opcode.name == "STOP":
                        break
                    self._step(opcode.name, argument)
            return self._stack.pop()
        except (IndexError, KeyError) as error:
            raise ValueError("its pickle is damaged") from error

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(opcode[-1])
                stack[-length:] = [tuple(self._top(length))]
            case "MARK":
                self._marked.append(stack)
                self._stack = []
            case "TUPLE":
                values = self._pop_mark()
                self._stack.append(tuple(values))
            case "APPEND" | "APPENDS":
                values = self._pop_mark() if opcode == "APPENDS" else [stack.pop()]
                self._typed(self._stack[-1], list).extend(values)
            case "SETITEM" | "SETITEMS":
                if opcode == "SETITEMS":
                    values = self._pop_mark()
                else:
                    values = [*self._top(2)]
                    del stack[-2:]
                self._set_items(self._typed(self._stack[-1], dict), values)
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(_find(argument))
            case "STACK_GLOBAL":
                module, name = self._top(2)
                stack[-2:] = [_find(f"{module} {name}")]
            case "REDUCE":
                function, arguments = self._top(2)
                stack[-2:] = [_call(function, arguments)]
            case "BINPERSID":
                stack.append(self._find_storage(stack.pop()))
            case "BUILD":
                # Attributes of a state dict, such as the versions of its modules.
                self._typed(stack.pop(), dict)
                self._typed(stack[-1], dict)
            case _:
                raise ValueError(
                    f"its pickle has the opcode {opcode}, which is refused: a table of "
                    "tensors does not need it"
                )

    def _top(self, length: int) -> Sequence[Any]:
        if len(self._stack) < length:
            raise IndexError
        return self._stack[-length:]

    def _pop_mark(self) -> list[Any]:
        values = self._stack
        self._stack = self._marked.pop()
        return values

    def _typed(self, value: Any, expected: type) -> Any:
        if not isinstance(value, expected):
            raise ValueError(
                f"its pickle has a {type(value).__name__} where a {expected.__name__} "
                "is expected"
            )
        return value

    def _set_items(self, mapping: dict, values: list[Any]) -> None:
        if len(values) % 2:
            raise IndexError
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int):
                raise ValueError(f"its pickle has a key of type {type(key).__name__}")
            mapping[key] = value

    def _find_storage(self, identifier: Any) -> Storage:
        """Returns the storage that a persistent identifier names.

        It is ("storage", type, key, device, length), in the older format with the part
        of the storage that is used: always None, since there are no more parts.
        """
        match identifier:
            case ("storage", _Global(name=name), str(key), str(), int(length)):
                pass
            case ("storage", _Global(name=name), str(key), str(), int(length), None):
                pass
            case _:
                raise ValueError("its pickle names something that is not a storage")
        module, _, name = name.partition(" ")
        if module != "torch" or name not in _STORAGES or length < 0:
            raise ValueError("its pickle names something that is not a storage")
        dtype = np.dtype(_STORAGES[name])
        storage = self._storages.setdefault(key, Storage(key, dtype, length))
        if (storage.dtype, storage.length) != (dtype, length):
            raise ValueError(f"its storage {key} is named with two types or lengths")
        return storage


def _find(name: str) -> _Global:
    """Returns the value for a function or class; raises ValueError if refused."""
    if name not in _GLOBALS:
        raise ValueError(
            f"its pickle asks for {name.replace(' ', '.')}, which is refused, since it "
            "could run code; a state dict does not need it. Nothing was executed"
        )
    return _Global(name)


def _call(function: Any, arguments: Any) -> Any:
    """Returns what a function of ``_GLOBALS`` returns in PyTorch, as our types."""
    match function, arguments:
        case (_Global(name="collections OrderedDict"), ()):
            return {}
        case (
            _Global(name="torch._utils _rebuild_tensor_v2"),
            (Storage() as storage, offset, tuple(shape), tuple(strides), *_),
        ):
            return _make_tensor(storage, offset, shape, strides)
        case (
            _Global(name="torch._utils _rebuild_parameter"),
            (Tensor() as tensor, *_),
        ):
            return tensor
    raise ValueError("its pickle calls something that is not a tensor")


def _make_tensor(storage: Storage, offset: Any, shape: tuple, strides: tuple) -> Tensor:
    """Returns a tensor; raises ValueError if it is not a part of its storage."""
    numbers = (offset, *shape, *strides)
    valid = all(type(number) is int and number >= 0 for number in numbers)
    if not valid or len(shape) != len(strides) or len(shape) > _MAX_AXES:
        raise ValueError("it has a tensor whose shape and strides are not numbers")
    size, last = 1, offset
    for length, stride in zip(shape, strides, strict=True):
        size *= length
        last += (length - 1) * stride
    if not size:
        raise ValueError("it has a tensor without elements")
    # A larger tensor than its storage repeats numbers, and could fill the memory.
    if last >= storage.length or size > storage.length:
        raise ValueError(
            f"it has a tensor of shape {shape} that exceeds its storage of "
            f"{storage.length} numbers"
        )
    return Tensor(storage, offset, shape, strides)
