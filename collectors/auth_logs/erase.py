"""One person's events taken out of those that are kept in clear, when they ask for it.

An e-mail is followed to the ids that audit events give it, for a sign-in's line bears the id alone. An address stands
for whoever used it, so it is erased only when it is named. A file is written anew beside itself and put in its place;
what it held is overwritten first, as far as the file system writes in place. Everything here blocks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from collectors.auth_logs.kept import files, locked, told_by

_NOBODY = "00000000-0000-0000-0000-000000000000"
"""The actor of what an administrator's key did."""


def erase(folder: Path, salt: bytes, subjects: Iterable[str], *, apply: bool) -> tuple[int, int]:
    """(lines that concern one of `subjects`, files they are in). `subjects`: e-mails, ids, addresses, or the names that
    series give them. Without `apply` they are only counted. Raises OSError."""
    wanted = {subject.casefold() for subject in subjects}
    wanted |= _ids_of(folder, {subject for subject in wanted if "@" in subject})
    concerns = _telling(wanted, salt)
    lines = count = 0
    for path, _ in files(folder):
        found = _without(path, concerns, apply=apply)
        lines, count = lines + found, count + bool(found)
    return lines, count


def _ids_of(folder: Path, emails: set[str]) -> set[str]:
    """What audit events call the users of these e-mails."""
    if not emails:
        return set()
    pairs = (pair for path, _ in files(folder) for line in path.read_bytes().splitlines() for pair in _named(line))
    return {id.casefold() for email, id in pairs if email.casefold() in emails and id and id != _NOBODY}


def _named(line: bytes) -> Iterator[tuple[str, str]]:
    """(e-mail, id) of whom an audit event names."""
    fields = _parsed(line)
    audit = fields.get("auth_audit_event") or fields.get("auth_event") if isinstance(fields, dict) else None
    if not isinstance(audit, dict):
        return
    yield str(audit.get("actor_username") or ""), str(audit.get("actor_id") or "")
    traits = audit.get("traits")
    if isinstance(traits, dict):
        yield str(traits.get("user_email") or ""), str(traits.get("user_id") or "")


def _telling(wanted: set[str], salt: bytes) -> Callable[[bytes], bool]:
    # Not inside another word: 10.0.0.1 is not in 110.0.0.12, nor ana@x.io in joana@x.io.
    words = "|".join(map(re.escape, sorted(wanted)))
    pattern = re.compile(rf"(?<![\w.+-])(?:{words})(?![\w-]|\.\w)")

    def concerns(line: bytes) -> bool:
        fields = _parsed(line)
        texts = _texts(fields) if fields is not None else (line.decode("utf-8", "replace"),)
        if any(pattern.search(text.casefold()) for text in texts):
            return True
        told = told_by(line, salt)
        return told is not None and not wanted.isdisjoint((told.ip, *told.names))

    return concerns


def _without(path: Path, concerns: Callable[[bytes], bool], *, apply: bool) -> int:
    """How many lines of a file concern somebody; with `apply` they are in no file afterwards."""
    try:
        fd = locked(path, os.O_RDWR)
    except FileNotFoundError:  # too old by now, and deleted
        return 0
    with os.fdopen(fd, "r+b") as file:
        lines = file.read().splitlines(keepends=True)
        left = [line for line in lines if not concerns(line)]
        if apply and len(left) < len(lines):
            _put(path, b"".join(left))
            _overwrite(fd)
        return len(lines) - len(left)


def _put(path: Path, content: bytes) -> None:
    """Content in place of a file's, whole or not at all."""
    beside = path.with_suffix(".new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    beside.replace(path)


def _overwrite(fd: int) -> None:
    size = os.fstat(fd).st_size
    for begin in range(0, size, 1 << 20):
        os.pwrite(fd, bytes(min(1 << 20, size - begin)), begin)
    os.fsync(fd)


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a parsed line."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
