"""Whether a value may stand where it stands: as an argument of a function, as what `range` goes over. In Go's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .functions import ANY, Function
from .go_format import printed
from .nodes import Bool, Nil, Number, String
from .values import AnyMap, Duration, ExecutionFailed, QueryResult, QuerySample, StringMap, Time, type_name

_GO_TYPE: Final = {str: "string", QueryResult: "template.queryResult", QuerySample: "*template.sample"} | {
    Duration: "time.Duration",
    Time: "time.Time",
}


def parameter_types(function: Function, name: str, given: int) -> list[type]:
    """The type of each of so many arguments. Raises ExecutionFailed where it takes fewer or more."""
    wanted = len(function.parameters)
    if function.rest is not None:
        if given < wanted:
            raise ExecutionFailed(f"wrong number of args for {name}: want at least {wanted} got {given}")
    elif given != wanted:
        raise ExecutionFailed(f"wrong number of args for {name}: want {wanted} got {given}")
    return [*function.parameters, *[function.rest or object] * (given - wanted)]


def fitting(value: object, wanted: type) -> object:
    """The value. Raises ExecutionFailed where it is of another type."""
    if wanted is ANY or wanted is object or isinstance(value, wanted):
        return value
    kind = _GO_TYPE[wanted]
    if value is None:
        raise ExecutionFailed(f"invalid value; expected {kind}")
    raise ExecutionFailed(f"wrong type for value; expected {kind}; got {type_name(value)}")


def constant_as(node: Bool | Number | String | Nil, wanted: type) -> object:
    """The value of a constant. Raises ExecutionFailed where it is of another type."""
    if isinstance(node, Nil):
        if wanted is str:
            raise ExecutionFailed(f"cannot assign nil to {_GO_TYPE[wanted]}")
        return None
    if wanted is not ANY and not isinstance(node.value, wanted):
        kind = _GO_TYPE[wanted]
        raise ExecutionFailed(
            f"expected {kind}; found {node}" if wanted is str else f"can't handle {node} for arg of type {kind}"
        )
    return node.value


def steps_of(value: object) -> Iterator[tuple[object, object]]:
    """(key, item) of each step of a `range` over it. Raises ExecutionFailed where there is nothing to go over."""
    match value:
        case QueryResult():
            yield from enumerate(value)
        case StringMap() | AnyMap():
            for key in sorted(value):
                yield key, value[key]
        case bool() | float() | str():
            raise ExecutionFailed(f"range can't iterate over {printed(value)}")
        case int():
            for number in range(value):
                yield number, number
        case None:
            return
        case _:
            raise ExecutionFailed(f"range can't iterate over {printed(value)}")
