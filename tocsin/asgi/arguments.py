"""What a layer is told, looked at when it is made: each that is wrong is named, with what is meant.

A thing of another kind is a TypeError, a value that can't be meant a ValueError: both are the caller's to mend, and
neither waits for the first request to be found.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from tocsin.asgi.call import App


def wrong(name: str, meant: str, given: object) -> TypeError:
    """`name` (`protect(cache=…)`) is `meant`, and not what was given."""
    kind = given.__name__ if isinstance(given, type) else type(given).__name__
    return TypeError(f"{name} is {meant}, not {kind}")


def app_of(name: str, given: Any) -> App:
    """An ASGI application, also one that is a class' instance."""
    if callable(given):
        return cast(App, given)
    raise wrong(name, "an application, called with scope, receive and send", given)


def function(name: str, given: Any, meant: str) -> None:
    """Something that can be called."""
    if not callable(given):
        raise wrong(name, f"a function {meant}", given)


def functions(name: str, given: Any, meant: str) -> tuple[Any, ...]:
    """Several of them."""
    several = listed(name, given, f"a list of functions {meant}")
    for number, one in enumerate(several):
        function(f"{name}[{number}]", one, meant)
    return several


def listed(name: str, given: Any, meant: str) -> tuple[Any, ...]:
    """A list: a text is none, or each of its letters would be one."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise wrong(name, meant, given)
    return tuple(given)


def has(name: str, given: Any, parts: Iterable[str], meant: str) -> None:
    """Something that has these methods."""
    if isinstance(given, type) or not all(callable(getattr(given, part, None)) for part in parts):
        raise wrong(name, meant, given)


def number(name: str, given: Any, *, least: float, above: bool = False, whole: bool = False) -> None:
    """A number from `least` on, or `above` it. NaN is neither."""
    kinds = int if whole else (int, float)
    if isinstance(given, bool) or not isinstance(given, kinds):
        raise wrong(name, "a whole number" if whole else "a number", given)
    if not (given > least if above else given >= least):
        raise ValueError(f"{name} is {'above' if above else 'at least'} {least:g}, not {given:g}")


def mapping(name: str, given: Any, meant: str) -> None:
    """By key."""
    if not isinstance(given, Mapping):
        raise wrong(name, meant, given)


def layers(name: str, given: Any) -> tuple[Callable[..., Any], ...]:
    """Functions of (app, parts)."""
    several = functions(name, given, "(app, parts) -> app")
    for one in several:
        layer(name, one)
    return several


def layer(name: str, given: Any) -> None:
    """One of them. A class that takes its own arguments is not one yet."""
    try:
        inspect.signature(given).bind(None, None)
    except TypeError:
        called = getattr(given, "__name__", type(given).__name__)
        told = f"{name} has a layer that does not take (app, parts): {called}"
        if isinstance(given, type):
            told += f"; write lambda app, parts: {called}(app, site=parts.site, measures=parts.measures)"
        raise TypeError(told) from None
    except ValueError:
        return  # built in, and does not say what it takes
