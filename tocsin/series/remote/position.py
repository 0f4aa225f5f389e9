"""How far a queue has been delivered, on the disk.

Two slots of one small file are written in turn, each with a number and a checksum: a write that a crash tore leaves
the other slot, which is one step older. The file has its full size from the beginning, so a full disk can't stop it.

Before a request goes out, its end is written down too. What was on the way when the process died is sent again exactly
as it was: a receiver that has it already (Prometheus refuses a whole request for one sample that is older than what it
has) then refuses nothing that is new.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

_SLOT: Final = 64
_RECORD: Final = struct.Struct("<4sQQQQII")
_CHECK: Final = struct.Struct("<I")
_MAGIC: Final = b"TRW1"


@dataclass(frozen=True, slots=True)
class Split:
    """How a stretch of the queue becomes requests."""

    shards: int = 1
    """Requests at once; a series is always in the same one."""
    batch: int = 2000
    """Samples in one request."""


@dataclass(frozen=True, slots=True)
class Position:
    """All before `offset` of segment `segment` was delivered; up to `sending` it is on its way, split like that."""

    segment: int = 0
    offset: int = 0
    sending: int = 0
    split: Split = Split()


class PositionFile:
    """Keeps a Position."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        raw = self._file.read(2 * _SLOT)
        if len(raw) < 2 * _SLOT:
            os.ftruncate(self._file.fileno(), 0)
            os.pwrite(self._file.fileno(), bytes(2 * _SLOT), 0)
        self._count, self.position = max(
            (_read(raw[:_SLOT]), _read(raw[_SLOT:])), key=lambda numbered: numbered[0], default=(0, Position())
        )

    def write(self, position: Position) -> None:
        """Survives the death of the process when this returns. Raises OSError."""
        self._count += 1
        split = position.split
        record = _RECORD.pack(
            _MAGIC, self._count, position.segment, position.offset, position.sending, split.shards, split.batch
        )
        os.pwrite(self._file.fileno(), record + _CHECK.pack(crc32(record)), self._count % 2 * _SLOT)
        self.position = position

    def close(self) -> None:
        self._file.close()


def _read(slot: bytes) -> tuple[int, Position]:
    record = slot[: _RECORD.size]
    if len(slot) < _SLOT or record[:4] != _MAGIC or _CHECK.unpack_from(slot, _RECORD.size)[0] != crc32(record):
        return 0, Position()
    _, count, segment, offset, sending, shards, batch = _RECORD.unpack(record)
    return count, Position(segment, offset, sending, Split(shards, batch))
