"""What a settings model wants at a key path: the way from ("targets", 0, "headers") to the types there."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr


def alternatives(annotation: Any) -> Iterator[Any]:
    """The members of a union, without None and without Annotated wrappers; anything else by itself."""
    if annotation is None or annotation is types.NoneType:
        return
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from alternatives(member)
    else:
        yield annotation


def models_of(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The settings models that `annotation` may be."""
    return tuple(kind for kind in alternatives(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel))


def keys_of(annotation: Any) -> tuple[str, ...]:
    """The keys that the models of `annotation` know, as they are written in the file."""
    keys: dict[str, None] = {}
    for model in models_of(annotation):
        keys.update({info.alias or name: None for name, info in model.model_fields.items()})
    return tuple(keys)


def below(annotation: Any, key: str | int) -> Any:
    """The annotation of what stands at `key` within `annotation`, or None where nothing is known."""
    found: list[Any] = []
    for kind in alternatives(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [info.annotation for name, info in kind.model_fields.items() if key in (name, info.alias)]
            continue
        arguments = get_args(kind)
        if get_origin(kind) in (tuple, list, set, frozenset) and isinstance(key, int) and arguments:
            found.append(arguments[0])
        elif get_origin(kind) is dict and isinstance(key, str):
            found.append(arguments[1])
    if not found:
        return None
    return found[0] if len(found) == 1 else Union[tuple(found)]  # noqa: UP007 (made of values)


def is_secret(annotation: Any) -> bool:
    """True where a SecretStr is wanted."""
    return SecretStr in tuple(alternatives(annotation))


def description_at(annotation: Any, key: str) -> str:
    """What the field's documentation says, empty where there is none."""
    for model in models_of(annotation):
        for name, info in model.model_fields.items():
            if key in (name, info.alias) and info.description:
                return info.description
    return ""
