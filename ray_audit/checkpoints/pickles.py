"""An unpickler that builds tensors and containers, and nothing else.

A pickle names functions and classes by module and attribute, and asks for them to be called. Here
no module is imported and nothing that a file names is called: the few names that weights need are
built by functions of this module, and every other one becomes an inert placeholder, so that what
lies beside the weights (arguments, counters, histories, whole objects) does not stand in the way.

The machine is the standard library's own in Python, with every operation that calls something or
sets an attribute replaced.
"""

import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar

import torch
from torch import Tensor

DTYPES: Mapping[str, torch.dtype] = {
    f"{kind}Storage": dtype
    for kind, dtype in {
        "Float": torch.float32,
        "Double": torch.float64,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
        "ComplexFloat": torch.complex64,
        "ComplexDouble": torch.complex128,
        "Untyped": torch.uint8,
    }.items()
}
"""Element types of torch's storage classes, by name."""

_TORCH_DTYPES = {
    name: value
    for name, value in ((name, getattr(torch, name)) for name in dir(torch))
    if isinstance(value, torch.dtype)
}
_PLAIN_KEYS = (str, int, float, bool, bytes, type(None))
_MAX_AXES = 64


class Placeholder:
    """Stands for an object of a class that is not imported: it takes everything, and does nothing.

    Args:
        name: of the class or function in the file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Any = None

    def append(self, _: Any) -> None:
        """Forget an item."""

    def extend(self, _: Any) -> None:
        """Forget items."""


class Global:
    """The name of a class or function in a file; what it means is not looked up.

    Args:
        module: as in the file.
        name: as in the file.
    """

    def __init__(self, module: str, name: str) -> None:
        self.name = f"{module}.{name}"

    def called(self, arguments: Any) -> Any:
        """What a call of it gives: built here, or a placeholder.

        Raises:
            pickle.UnpicklingError: the arguments are not those of this function.
        """
        build = _BUILDERS.get(self.name)
        if build is None:
            return Placeholder(self.name)
        try:
            return build(*arguments)
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            raise pickle.UnpicklingError(f"{self.name}: {error}") from error


Storage = Callable[[str, torch.dtype, int], Tensor]
"""From the key, element type and number of elements of a storage to its elements, (N,)."""


class TensorUnpickler(pickle._Unpickler):
    """Reads one pickle.

    Args:
        stream: where it lies.
        storage: gives the elements of tensors.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]

    def __init__(self, stream: IO[bytes], storage: Storage) -> None:
        super().__init__(stream, encoding="utf-8", errors="replace")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """A name, not what it stands for."""
        if module == "torch" and name in _TORCH_DTYPES:
            return _TORCH_DTYPES[name]
        return Global(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """A storage of tensors; or the class of a module, whose source old files hold."""
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("an object that lies outside the pickle and is no storage")
        kind, key, num = pid[1], pid[2], pid[4]
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("a view of a storage, as torch wrote before 2018")
        dtype = DTYPES.get(kind.name.rpartition(".")[2]) if isinstance(kind, Global) else None
        if dtype is None or not isinstance(key, str) or not _is_count(num):
            raise pickle.UnpicklingError("a storage of unknown type")
        return self._storage(key, dtype, num)

    def get_extension(self, code: int) -> None:
        """Registered extensions may be anything."""
        raise pickle.UnpicklingError(f"extension code {code}")

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = _made(self.stack[-1], arguments)

    def _newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack.append(_made(self.stack.pop(), arguments))

    def _newobj_ex(self) -> None:
        self.stack.pop()
        self._newobj()

    def _obj(self) -> None:
        kind, *arguments = self.pop_mark()
        self.append(_made(kind, tuple(arguments)))

    def _inst(self) -> None:
        module, name = (self.readline()[:-1].decode("ascii", "replace") for _ in range(2))
        self.append(_made(Global(module, name), tuple(self.pop_mark())))

    def _build(self) -> None:
        state, built = self.stack.pop(), self.stack[-1]
        if isinstance(built, Placeholder):
            built.state = state

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put({0: (key, value)})

    def _setitems(self) -> None:
        items = self.pop_mark()
        self._put(dict(enumerate(zip(items[::2], items[1::2], strict=False))))

    def _put(self, pairs: Mapping[int, tuple[Any, Any]]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            # The hash of anything else could be made to cost more than its bytes.
            target.update({key: value for key, value in pairs.values() if _is_plain(key)})
        elif not isinstance(target, Placeholder):
            raise pickle.UnpicklingError(f"items of a {type(target).__name__}")

    def _dict(self) -> None:
        items = self.pop_mark()
        pairs = zip(items[::2], items[1::2], strict=False)
        self.append({key: value for key, value in pairs if _is_plain(key)})

    def _appends(self) -> None:
        items = self.pop_mark()
        if not isinstance(self.stack[-1], (list, Placeholder)):
            raise pickle.UnpicklingError(f"items of a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _append(self) -> None:
        item = self.stack.pop()
        if not isinstance(self.stack[-1], (list, Placeholder)):
            raise pickle.UnpicklingError(f"items of a {type(self.stack[-1]).__name__}")
        self.stack[-1].append(item)

    def _additems(self) -> None:
        items = self.pop_mark()
        if isinstance(self.stack[-1], set):
            self.stack[-1].update(item for item in items if _is_plain(item))

    def _frozenset(self) -> None:
        self.append(frozenset(item for item in self.pop_mark() if _is_plain(item)))

    def _bytearray(self) -> None:
        num = int.from_bytes(self.read(8), "little")
        self.append(self.read(num))  # of a BytesIO: never more than there is

    for _name, _load in (
        ("REDUCE", _reduce),
        ("NEWOBJ", _newobj),
        ("NEWOBJ_EX", _newobj_ex),
        ("OBJ", _obj),
        ("INST", _inst),
        ("BUILD", _build),
        ("SETITEM", _setitem),
        ("SETITEMS", _setitems),
        ("DICT", _dict),
        ("APPEND", _append),
        ("APPENDS", _appends),
        ("ADDITEMS", _additems),
        ("FROZENSET", _frozenset),
        ("BYTEARRAY8", _bytearray),
    ):
        dispatch[getattr(pickle, _name)[0]] = _load
    del _name, _load


def is_pickle(content: bytes) -> bool:
    """Whether bytes begin as a pickle of protocol 2 or later does."""
    return len(content) > 2 and content[0] == pickle.PROTO[0] and content[1] <= 5


def names_in(content: bytes) -> list[str]:
    """Names of what a pickle asks for, without reading it: for messages."""
    found: dict[str, None] = {}
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ("GLOBAL", "INST"):
                found[str(argument).replace(" ", ".")] = None
    except Exception:  # what is damaged names what it names
        return list(found)
    return list(found)


def _made(kind: Any, arguments: Any) -> Any:
    if isinstance(kind, Global) and isinstance(arguments, tuple):
        return kind.called(arguments)
    if isinstance(kind, Placeholder):
        return Placeholder(kind.name)
    raise pickle.UnpicklingError(f"a call of a {type(kind).__name__}")


def _is_plain(key: Any) -> bool:
    if isinstance(key, tuple):
        return all(isinstance(part, _PLAIN_KEYS) for part in key)
    return isinstance(key, _PLAIN_KEYS)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Any:
    if not torch.is_tensor(storage):
        return Placeholder("torch.storage")  # one that lies within the pickle
    if len(size) > _MAX_AXES or not _is_count(offset):
        raise ValueError("expected an offset and a size")
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _tensor_of_dtype(storage: Tensor, offset: int, size: Any, stride: Any, *more: Any) -> Any:
    dtype = more[2]  # behind requires_grad and hooks
    if not isinstance(dtype, torch.dtype):
        raise ValueError("expected a dtype")
    return _tensor(storage.view(dtype), offset, size, stride)


def _first(value: Any, *_: Any) -> Any:
    return value


def _from_type(function: Any, _kind: Any, arguments: Any, *_: Any) -> Any:
    return _made(function, arguments)


def _mapping(items: Any = (), *_: Any) -> dict[Any, Any]:
    if isinstance(items, dict):
        return dict(items)
    if not isinstance(items, (list, tuple)):
        return {}  # a default factory
    return {pair[0]: pair[1] for pair in items if len(pair) == 2 and _is_plain(pair[0])}


def _plain_set(items: Any = ()) -> set[Any]:
    return {item for item in items if _is_plain(item)}


def _size(items: Any = ()) -> tuple[Any, ...]:
    return tuple(items)


_BUILDERS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": _size,
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "collections.Counter": _mapping,
    "builtins.dict": _mapping,
    "builtins.list": list,
    "builtins.set": _plain_set,
    "__builtin__.set": _plain_set,
}
