"""The daemon's log, read for when it decided to tell something, and for what went wrong in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

DECIDED: Final = "incident.decided"
POST: Final = "post"


def decided_after(log: Path, moment: datetime) -> datetime | None:
    """The time of the first decision for a new message later than `moment`; None where there is none."""
    for line in _events_after(log, moment):
        if line.get("event") == DECIDED and line.get("action") == POST:
            return datetime.fromisoformat(line["timestamp"])
    return None


def errors_after(log: Path, moment: datetime, *, most: int = 5) -> list[str]:
    """What the daemon logged as an error since `moment`: each event once, with its last line of explanation."""
    found: dict[str, None] = {}
    for line in _events_after(log, moment):
        if line.get("level") in {"error", "critical"}:
            why = str(line.get("exception") or line.get("error") or line.get("what") or "").strip()
            found[f"{line.get('event')}: {why.splitlines()[-1] if why else '-'}".splitlines()[-1]] = None
    return list(found)[-most:]


def _events_after(log: Path, moment: datetime) -> Iterator[dict[str, Any]]:
    with log.open(encoding="utf-8", errors="replace") as lines:
        for text in lines:
            try:
                line = json.loads(text)
                at = datetime.fromisoformat(line["timestamp"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that is no event of ours, or that is being written
            if at >= moment:
                yield line
