"""Regular expressions with RE2's syntax, as everywhere in Prometheus."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import re2

from .values import ExecutionFailed

_REFERENCE: Final = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ExecutionFailed(f"error parsing regexp: {_reason(error, pattern)}") from error


def _reason(error: Exception, pattern: str) -> str:
    """RE2's words as Go's copy of it says them."""
    said = error.args[0] if error.args else ""
    what, _, part = (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)).partition(": ")
    if what.startswith("missing ") and len(what) == len("missing )"):
        what = what.replace("missing ", "missing closing ")
    return f"{what}: `{part or pattern}`"


def matches(pattern: str, text: str) -> bool:
    """True when `pattern` matches anywhere in `text`."""
    return bool(_compiled(pattern).search(text))


def replace_all(pattern: str, replacement: str, text: str) -> str:
    """Every match replaced; `$1`, `${1}` and `${name}` stand for groups, one that is unknown for nothing."""
    try:
        compiled = _compiled(pattern)
    except ExecutionFailed as failed:
        raise ExecutionFailed(f"regexp: Compile(`{pattern}`): {failed}") from failed
    names = dict(compiled.groupindex)

    def expanded(found: Any) -> str:
        def group(reference: re.Match[str]) -> str:
            name = reference.group(1) or reference.group(2)
            if name is None:
                return "$"
            if name.isdigit():
                return (found.group(int(name)) or "") if int(name) <= compiled.groups else ""
            return (found.group(names[name]) or "") if name in names else ""

        return _REFERENCE.sub(group, replacement)

    out: list[str] = []
    at = 0
    for found in compiled.finditer(text):
        out.append(text[at : found.start()])
        out.append(expanded(found))
        at = found.end()
    return "".join(out) + text[at:]
