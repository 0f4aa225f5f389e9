"""A collector's checkpoint in memory: what one collector saved, the next one that is given it loads."""

from __future__ import annotations


class MemoryCheckpoint:
    """Outlives a collector, not the test."""

    blob: bytes | None = None
    """What was saved last."""

    async def load(self) -> bytes | None:
        return self.blob

    async def save(self, blob: bytes) -> None:
        self.blob = blob
