"""The functions that every Go template has: comparison, index, len, print. `and` and `or` are the executor's."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote_plus

from .go_format import print_all, printed, printf
from .values import AnyMap, ExecutionFailed, QueryResult, StringMap, truth, type_name

_INCOMPATIBLE: Final = "incompatible types for comparison"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return "string"
    raise ExecutionFailed("invalid type for comparison")


def _equal(first: object, *others: object) -> bool:
    if not others:
        raise ExecutionFailed("missing argument for comparison")
    for other in others:
        if first is None or other is None:
            if first is other:
                return True
            continue
        if isinstance(first, (StringMap, AnyMap, QueryResult)) or isinstance(other, (StringMap, AnyMap, QueryResult)):
            raise ExecutionFailed(f"non-comparable type {printed(first)}: {type_name(first)}")
        if _kind(first) != _kind(other):
            raise ExecutionFailed(_INCOMPATIBLE)
        if first == other:
            return True
    return False


def _less(first: object, second: object) -> bool:
    kind = _kind(first)
    if kind != _kind(second):
        raise ExecutionFailed(_INCOMPATIBLE)
    if isinstance(first, str) and isinstance(second, str):
        return first.encode("utf-8", "surrogatepass") < second.encode("utf-8", "surrogatepass")
    if kind == "bool" or not isinstance(first, (int, float)) or not isinstance(second, (int, float)):
        raise ExecutionFailed("invalid type for comparison")
    return first < second


def _less_or_equal(first: object, second: object) -> bool:
    return _less(first, second) or _equal(first, second)


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, (StringMap, AnyMap, QueryResult)):
        return len(value)
    raise ExecutionFailed("len of nil pointer" if value is None else f"len of type {type_name(value)}")


def _position(index: object, length: int) -> int:
    if not isinstance(index, int) or isinstance(index, bool):
        raise ExecutionFailed(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= length:
        raise ExecutionFailed(f"index out of range: {index}")
    return index


def _element(item: Sequence[object] | bytes, index: object, kind: str) -> object:
    at = _position(index, len(item))
    if at == len(item):
        raise ExecutionFailed(f"reflect: {kind} index out of range")
    return item[at]


def _index(item: object, *indices: object) -> object:
    for index in indices:
        match item:
            case None:
                raise ExecutionFailed("index of untyped nil")
            case StringMap() | AnyMap():
                if not isinstance(index, str):
                    raise ExecutionFailed(f"value has type {type_name(index)}; should be string")
                item = item.get(index, "" if isinstance(item, StringMap) else None)
            case QueryResult():
                item = _element(item, index, "slice")
            case str():
                item = _element(item.encode("utf-8", "surrogatepass"), index, "string")
            case _:
                raise ExecutionFailed(f"can't index item of type {type_name(item)}")
    return item


def _slice(item: object, *bounds: object) -> object:
    if not isinstance(item, (str, QueryResult)):
        raise ExecutionFailed(f"can't slice item of type {type_name(item)}")
    if len(bounds) > 2:
        raise ExecutionFailed(f"too many slice indexes: {len(bounds)}")
    size = len(item)
    at = [_position(bound, size) for bound in bounds] + [0, size][len(bounds) :]
    if at[0] > at[1]:
        raise ExecutionFailed(f"invalid slice index: {at[0]} > {at[1]}")
    part = item[at[0] : at[1]]
    return part if isinstance(part, str) else QueryResult(part)


def _line(*values: object) -> str:
    return " ".join("<nil>" if value is None else printed(value) for value in values) + "\n"


def _javascript(*values: object) -> str:
    escapes = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
    return "".join(
        escapes.get(char) or (f"\\u{ord(char):04X}" if ord(char) < 32 else char) for char in print_all(values)
    )


def _html(*values: object) -> str:
    return html.escape(print_all(values), quote=False).replace('"', "&#34;").replace("'", "&#39;")


def _not_callable(value: object, *_: object) -> object:
    raise ExecutionFailed(f"non-function {printed(value)} of type {type_name(value)}")


def _printf(pattern: str, *args: object) -> str:
    return printf(pattern, args)


BUILTINS: Final[dict[str, tuple[Callable[..., object], tuple[type, ...], type | None]]] = {
    "and": (_not_callable, (object,), object),
    "or": (_not_callable, (object,), object),
    "not": (lambda value: not truth(value), (object,), None),
    "eq": (_equal, (object,), object),
    "ne": (lambda first, second: not _equal(first, second), (object, object), None),
    "lt": (_less, (object, object), None),
    "le": (_less_or_equal, (object, object), None),
    "gt": (lambda first, second: not _less_or_equal(first, second), (object, object), None),
    "ge": (lambda first, second: not _less(first, second), (object, object), None),
    "len": (_length, (object,), None),
    "index": (_index, (object,), object),
    "slice": (_slice, (object,), object),
    "print": (lambda *args: print_all(args), (), object),
    "printf": (_printf, (str,), object),
    "println": (_line, (), object),
    "html": (_html, (), object),
    "js": (_javascript, (), object),
    "urlquery": (lambda *values: quote_plus(print_all(values), safe=""), (), object),
    "call": (_not_callable, (object,), object),
}
"""name → (what it does, the types of its parameters, the type of a variadic tail)."""
