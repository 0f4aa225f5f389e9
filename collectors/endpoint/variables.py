"""`${name}` in a journey's steps: what stands there, and what is put in its place. Pure.

A whole `${name}` takes the variable as it is, so that a number that was read from JSON is a number in JSON again;
inside of other text it is written out. `$${` is a `${` that is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

NAME: Final = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
_PLACE: Final = re.compile(rf"\$(\$\{{)|\$\{{({NAME})\}}")
_OPEN: Final = re.compile(rf"(?<!\$)\$\{{(?!{NAME}\}})")


def names_in(value: Any) -> Iterator[str]:
    """The variables that a text, or any text within a list or mapping, asks for.

    Raises ValueError for a `${` that begins none.
    """
    if isinstance(value, str):
        if (stray := _OPEN.search(value)) is not None:
            shown = value[stray.start() : stray.start() + 12]
            raise ValueError(f"{shown!r} is no variable; write ${{name}}, or $${{ for the signs themselves")
        yield from (found.group(2) for found in _PLACE.finditer(value) if found.group(2))
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from names_in(key)
            yield from names_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from names_in(one)


def written(value: Any) -> str:
    """A variable inside of text: text as it is, all else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def filled(text: str, variables: Mapping[str, Any], encoded: Callable[[str], str] = str) -> str:
    """`text` with every variable in its place, each passed through `encoded`. Raises KeyError for an unknown one."""
    return _PLACE.sub(lambda found: "${" if found.group(1) else encoded(written(variables[found.group(2)])), text)


def filled_json(value: Any, variables: Mapping[str, Any]) -> Any:
    """A JSON value with the variables in its texts. Raises KeyError for an unknown one."""
    if isinstance(value, str):
        whole = _PLACE.fullmatch(value)
        return variables[whole.group(2)] if whole and whole.group(2) else filled(value, variables)
    if isinstance(value, Mapping):
        return {filled(key, variables): filled_json(one, variables) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [filled_json(one, variables) for one in value]
    return value
