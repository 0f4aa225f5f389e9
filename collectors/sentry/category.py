"""The category of an event: by its tag, its exceptions, the status it was answered with; else it is a bug.

Nothing of what is read here is kept but the category, which is one of those that Names knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from collectors.sentry.languages import CODES, ENDINGS, KNOWN
from tocsin.categories import DATABASE, DEPENDENCY, Names, of_status

TAG: Final = "tocsin.category"
"""By it an application says the category itself."""
_STATUS_TAGS: Final = ("status", "status_code", "http.status_code", "http.response.status_code")
_CHAIN: Final = 5
_OUTGOING: Final = re.compile(r"(?:^|\.)http\.client(?:\.|$)|HttpInterceptor$")
"""Mechanisms of SDKs that report what a request of the application's own was answered with."""
_CODE: Final = re.compile("|".join(map(re.escape, sorted(CODES, key=len, reverse=True))))
_DATABASE_PORT: Final = re.compile(r":(?:5432|6543|3306|27017)\b")
_SAID: Final = 300
"""Of a message, so many characters are looked at."""
_SCRIPTS: Final = frozenset({"node", "javascript"})
_PLAIN: Final = frozenset({"Error", "TypeError", "AggregateError", ""})
_NUMBER: Final = re.compile(r"[1-5]\d\d")


def names_of(more: Mapping[str, str]) -> Names:
    """What is known of all languages, with what the configuration adds. Raises ValueError, as Names."""
    return Names(more, KNOWN)


def category_of(event: Mapping[str, Any], chain: Sequence[Mapping[str, Any]], names: Names) -> str:
    """`chain` is the event's exceptions, the one that was raised last at its end."""
    tags = dict(_tags(event.get("tags")))
    # Our own layers have judged already, with the exception in their hands.
    own = [tags.get(TAG), tags.get("category") if event.get("logger") == "tocsin.asgi" else None]
    return (
        next((tag for tag in own if tag in names.categories), None)
        or _of_chain(chain, event.get("platform"), names)
        or of_status(_status(event, tags))
    )


def _of_chain(chain: Sequence[Mapping[str, Any]], platform: object, names: Names) -> str | None:
    for one in chain[: -_CHAIN - 1 : -1]:
        mechanism = one.get("mechanism")
        mechanism = mechanism if type(mechanism) is dict else {}
        if _OUTGOING.search(_str(mechanism.get("type"))):
            return DEPENDENCY
        found = _of_name(_name(one, platform), names)
        if found is None and platform in _SCRIPTS and _str(one.get("type")) in _PLAIN:
            found = _of_message(_str(one.get("value"))[:_SAID])
        if found is not None:
            return found
        if mechanism.get("source") == "__context__":
            return None  # what was before that was being handled; it is not what this was raised from
    return None


def _of_name(name: str, names: Names) -> str | None:
    found = names.of([name])
    if found is None:
        last = name.rpartition(".")[2]
        found = next((category for ending, category in ENDINGS.items() if last.endswith(ending)), None)
    return found


def _of_message(said: str) -> str | None:
    code = _CODE.search(said)
    if code is None:
        return None
    return DATABASE if _DATABASE_PORT.search(said) else CODES[code.group()]


def _name(one: Mapping[str, Any], platform: object) -> str:
    """As tocsin.categories has names: `package.Class`, whatever the language writes between the two."""
    kind, module = (_dotted(_str(one.get(key)).lstrip("*&")[:_SAID]) for key in ("type", "module"))
    if platform == "python" and not module:
        module = "builtins"
    # .NET says the assembly for a module and Go the path of the package; both write the type with its package.
    if not module or platform in ("go", "csharp") or kind.startswith(f"{module}."):
        return kind
    return f"{module}.{kind}"


def _dotted(name: str) -> str:
    return name.replace("::", ".").replace("\\", ".").lstrip(".")


def _status(event: Mapping[str, Any], tags: Mapping[str, str]) -> int:
    contexts = event.get("contexts")
    response = contexts.get("response") if type(contexts) is dict else None
    said = response.get("status_code") if type(response) is dict else None
    texts = [str(said) if type(said) in (int, str) else "", *(tags.get(name, "") for name in _STATUS_TAGS)]
    return next((int(text) for text in texts if _NUMBER.fullmatch(text)), 0)


def _tags(tags: object) -> Iterator[tuple[str, str]]:
    """An object, or a list of pairs, as SDKs send either."""
    pairs: Iterable[Any] = tags.items() if type(tags) is dict else tags if type(tags) is list else ()
    for pair in pairs:
        if type(pair) in (list, tuple) and len(pair) == 2 and type(pair[0]) is str and type(pair[1]) in (str, int):
            yield pair[0], str(pair[1])


def _str(value: object) -> str:
    return value if type(value) is str else ""
