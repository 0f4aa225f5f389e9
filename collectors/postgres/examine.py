"""What `tocsin doctor` asks of a Postgres source: can it be reached, and what would its role not see?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg

from collectors.postgres.doctor import Gap, gaps
from collectors.postgres.groups import statement
from collectors.postgres.link import Link
from collectors.postgres.reader import refusal
from collectors.postgres.settings import PostgresSettings
from collectors.postgres.state import State, Unreachable


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One look at a source."""

    state: State
    why: str = ""
    """Why it can't be reached or asked; empty when it can."""
    version: int = 0
    role: str = ""
    database: str = ""
    gaps: tuple[Gap, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is hidden; advice apart."""
        return not self.why and not any(gap.blinds for gap in self.gaps)


async def examine(settings: PostgresSettings, folder: Path) -> Examination:
    """Connect, ask once, disconnect. Never raises for what is wrong with the source: that is the result."""
    link = Link(settings, folder, None, changed=lambda: None)
    try:
        await link.ensure()
        answer = await link.fetch("capabilities", statement("capabilities"))
    except Unreachable as error:
        return Examination(state=error.state, why=str(error))
    except psycopg.Error as error:
        return Examination(state=State.UNKNOWN, why=refusal(error, "capabilities"))
    finally:
        await link.close()
    facts = answer.records()[0]
    return Examination(
        state=link.state,
        version=link.session.version,
        role=facts["role"],
        database=facts["database"],
        gaps=gaps(facts, link.session.version),
    )
