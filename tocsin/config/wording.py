"""From pydantic's errors to findings: where, what, and how to mend it, in plain words and without any secret."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tocsin.config.annotations import below, description_at, is_secret, keys_of
from tocsin.config.document import KeyPath
from tocsin.config.environment import Layers
from tocsin.config.secrets import Secrets
from tocsin.errors import Finding

_SAYS: Final[Mapping[str, str]] = {
    "string_type": "text is wanted",
    "int_type": "a whole number is wanted",
    "int_parsing": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "float_parsing": "a number is wanted",
    "bool_type": "true or false is wanted",
    "bool_parsing": "true or false is wanted",
    "tuple_type": "a list is wanted",
    "list_type": "a list is wanted",
    "dict_type": "a mapping (key: value) is wanted",
    "model_type": "a mapping (key: value) is wanted",
    "model_attributes_type": "a mapping (key: value) is wanted",
    "path_type": "a path is wanted",
}


def findings_of(
    error: ValidationError, annotation: Any, path: KeyPath, layers: Layers, secrets: Secrets
) -> list[Finding]:
    """Every problem of `error`, which validating what stands at `path` raised."""
    found: dict[KeyPath | int, Finding] = {}
    all_details = error.errors(include_url=False)
    for number, details in enumerate(all_details):
        if _is_about_placeholder(details, path, secrets) or _follows_from_another(details, all_details):
            continue
        tail, parent, wanted = _locate(details, annotation, path, layers.data)
        # Of a union each member complains; one complaint per place is enough, but unknown keys are several.
        place = number if details["type"] in ("missing", "extra_forbidden") else tail
        finding = _finding(details, (*path, *tail), parent, wanted, layers, secrets)
        found.setdefault(place, finding)
    return list(found.values())


def title(path: KeyPath, data: Any) -> str:
    """`notifiers[slack-pages].channel`: a key path as people read it; an entry that has a name goes by it."""
    text = ""
    for key in path:
        data = data[key] if _has(data, key) else None
        if isinstance(key, int):
            name = data.get("name") if isinstance(data, dict) else None
            text += f"[{name}]" if isinstance(name, str) else f"[{key}]"
        else:
            text += f".{key}" if text else key
    return text


def nearest(wrong: str, known: tuple[str, ...], noun: str) -> str:
    """How to mend a misspelt name: the nearest known one, or all of them."""
    near = get_close_matches(wrong, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known {noun}: {', '.join(known) or 'none'}"


def _finding(details: ErrorDetails, at: KeyPath, parent: Any, wanted: Any, layers: Layers, secrets: Secrets) -> Finding:
    key = at[-1] if at else None
    kind = details["type"]
    if kind == "extra_forbidden":
        mend = nearest(str(key), _writable_keys(parent), "keys")
        return layers.places.finding(at, f"unknown key '{key}'{_inside(at[:-1], layers.data)}", mend)
    if kind == "missing":
        says = description_at(parent, str(key))
        ways = f"{key}_env or {key}_file" if is_secret(wanted) else str(key)
        what = f"'{ways}' is missing{_inside(at[:-1], layers.data)}"
        return layers.places.finding(at[:-1], what, f"add it: {says}" if says else "add it")
    what = secrets.hidden(_message(details))
    says = description_at(parent, key) if isinstance(key, str) else ""
    name = title(at, layers.data)
    mend = "" if "; " in what else _mend(details, says)
    return layers.places.finding(at, f"{name}: {what}" if name else what, mend)


def _message(details: ErrorDetails) -> str:
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    text = _SAYS.get(details["type"], details["msg"])
    return text[:1].lower() + text[1:]


def _mend(details: ErrorDetails, says: str) -> str:
    if details["type"] == "string_type" and isinstance(details["input"], (int, float)):
        return "put it in quotes"
    if details["type"].startswith("model") or details["type"] in ("dict_type", "list_type", "tuple_type"):
        return says or "check the indentation"
    return says


def _locate(details: ErrorDetails, annotation: Any, path: KeyPath, data: Any) -> tuple[KeyPath, Any, Any]:
    """The error's place in the file → (keys below `path`, what is wanted around it, what is wanted there).

    pydantic's location also names members of unions, which are not in the file: they are left out.
    """
    for key in path:
        data = data[key] if _has(data, key) else None
    tail: KeyPath = ()
    parent: Any = None
    location = details["loc"]
    for number, key in enumerate(location):
        known = below(annotation, key)
        last = number == len(location) - 1 and details["type"] in ("missing", "extra_forbidden")
        if not (_has(data, key) or last or (known is not None and isinstance(data, dict))):
            continue
        tail, parent, annotation = (*tail, key), annotation, known
        data = data[key] if _has(data, key) else None
    return tail, parent, annotation


def _has(data: Any, key: str | int) -> bool:
    if isinstance(data, dict):
        return key in data
    return isinstance(data, list) and isinstance(key, int) and 0 <= key < len(data)


def _is_about_placeholder(details: ErrorDetails, path: KeyPath, secrets: Secrets) -> bool:
    at = (*path, *details["loc"])
    if details["type"] in ("missing", "extra_forbidden"):
        return False
    return any(place[: len(at)] == at or at[: len(place)] == place for place in secrets.placeholders)


def _follows_from_another(details: ErrorDetails, others: list[ErrorDetails]) -> bool:
    """A list whose only entries are wrong is "too short" to pydantic; the entries' own errors say it all."""
    at = details["loc"]
    return details["type"] == "too_short" and any(
        len(other["loc"]) > len(at) and other["loc"][: len(at)] == at for other in others
    )


def _inside(path: KeyPath, data: Any) -> str:
    name = title(path, data)
    return f" in {name}" if name else ""


def _writable_keys(annotation: Any) -> tuple[str, ...]:
    """The keys one may write, with the two ways to give each secret."""
    keys: list[str] = []
    for key in keys_of(annotation):
        if is_secret(below(annotation, key)) and f"{key}_env" not in keys_of(annotation):
            keys += [f"{key}_env", f"{key}_file"]
        else:
            keys.append(key)
    return tuple(dict.fromkeys(keys))
