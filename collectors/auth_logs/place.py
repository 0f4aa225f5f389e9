"""Where reading stands in a file, in a form that recognises the file again.

A path names another file after a rotation, an inode number is given out again after a deletion, and a file can be
emptied and refilled past the old position between two looks. So a place also holds two fingerprints: of the file's
first bytes, and of those just before the position. Log lines bear times and ids, so other content has others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

SPAN: Final = 256
"""Bytes that a fingerprint covers, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Print:
    """A fingerprint of `length` bytes."""

    length: int = 0
    digest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A position in a file, always at the begin of a line."""

    device: int
    inode: int
    offset: int = 0
    head: Print = Print()
    tail: Print = Print()
    skipping: bool = False
    """Inside a line that is too long to be read."""

    def is_at(self, fd: int) -> bool:
        """True when `fd` is this very file."""
        stat = os.fstat(fd)
        return (self.device, self.inode) == (stat.st_dev, stat.st_ino)

    def holds_in(self, fd: int) -> bool:
        """True when the file still has, up to this place, what was read from it."""
        return self.head == _print(fd, 0, self.head.length) and self.tail == _print(
            fd, self.offset - self.tail.length, self.tail.length
        )

    def begins(self, fd: int) -> bool:
        """True when the file begins as this one does: it is this file, or a copy of it."""
        return self.head.length > 0 and self.head == _print(fd, 0, self.head.length)

    def moved(self, fd: int, offset: int, *, skipping: bool = False) -> Place:
        """This place further on in the same file."""
        span = min(offset, SPAN)
        head = self.head if self.head.length == SPAN else _print(fd, 0, span)
        return replace(self, offset=offset, head=head, tail=_print(fd, offset - span, span), skipping=skipping)

    def to_json(self) -> list[Any]:
        return [
            self.device, self.inode, self.offset, self.skipping,
            self.head.length, self.head.digest, self.tail.length, self.tail.digest,
        ]  # fmt: skip

    @classmethod
    def of_json(cls, row: list[Any]) -> Place:
        """What `to_json` gave. Raises ValueError or TypeError for anything else."""
        device, inode, offset, skipping, *prints = row
        head_length, head, tail_length, tail = prints
        return cls(
            device=int(device),
            inode=int(inode),
            offset=int(offset),
            skipping=bool(skipping),
            head=Print(length=int(head_length), digest=str(head)),
            tail=Print(length=int(tail_length), digest=str(tail)),
        )


def place_in(fd: int, offset: int = 0) -> Place:
    """The place `offset` of an open file."""
    stat = os.fstat(fd)
    return Place(device=stat.st_dev, inode=stat.st_ino).moved(fd, offset)


def _print(fd: int, start: int, length: int) -> Print:
    """Of what is there: shorter than `length` when the file is, and so unequal to what it was."""
    if length <= 0:
        return Print()
    data = os.pread(fd, length, start)
    return Print(length=len(data), digest=blake2b(data, digest_size=12).hexdigest())
