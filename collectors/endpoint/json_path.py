"""Where a value stands in a JSON document: `items[0].id`, `["a.b"].c`, with or without `$` in front. Pure.

The part of JSONPath (RFC 9535) that names one place: no wildcards, filters or slices, so that what is compared is one
value. A negative index counts from the end.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

Path = tuple[str | int, ...]

MISSING: Final = object()
"""What `find` gives where nothing stands; null is a value."""

_PART: Final = re.compile(r"""\.?([A-Za-z_][\w-]*)|\[(-?\d{1,6})\]|\[(?:"([^"]*)"|'([^']*)')\]""")


@lru_cache(maxsize=4096)
def parsed(text: str) -> Path:
    """`text` as keys and indices. Raises ValueError that says how a path is written."""
    rest, path = text.removeprefix("$"), list[str | int]()
    if text != "$" and not rest.strip():
        raise ValueError(f'{text!r} is no JSON path; write it like items[0].id or ["a.b"]')
    at = 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None or (at and part.group(1) and rest[at] != "."):
            raise ValueError(f'{text!r} is no JSON path at {rest[at:]!r}; write it like items[0].id or ["a.b"]')
        name, index, double, single = part.groups()
        path.append(int(index) if index is not None else next(key for key in (name, double, single) if key is not None))
        at = part.end()
    return tuple(path)


def find(document: Any, path: Path) -> Any:
    """What stands at `path` of `document`, or MISSING."""
    for key in path:
        if isinstance(key, str):
            document = document.get(key, MISSING) if isinstance(document, dict) else MISSING
        elif isinstance(document, list) and -len(document) <= key < len(document):
            document = document[key]
        else:
            return MISSING
        if document is MISSING:
            return MISSING
    return document


def same(found: Any, wanted: Any) -> bool:
    """Equal as JSON is: 1 is 1.0, and true is not 1."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[key], wanted[key]) for key in found)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted)
