"""The daemon's log, read for when it decided to tell something."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Final

DECIDED: Final = "incident.decided"
POST: Final = "post"


def decided_after(log: Path, moment: datetime) -> datetime | None:
    """The time of the first decision for a new message later than `moment`; None where there is none."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for text in lines:
            if DECIDED not in text:
                continue
            try:
                line = json.loads(text)
                at = datetime.fromisoformat(line["timestamp"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that is no event of ours, or that is being written
            if line.get("event") == DECIDED and line.get("action") == POST and at >= moment:
                return at
    return None
