"""The demo's five faults: what each does to the stage, and how it is mended."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tocsin.testing.demo.settings import FAILING_PATH, SLOW, SLOW_PATH

if TYPE_CHECKING:
    from tocsin.testing.demo.stage import Stage

QUERY_SECONDS: Final = 1.6
"""A query over 1 s, and not by much."""
BURST: Final = 25
_AT_ONCE: Final = 5

Step = Callable[["Stage"], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong. `inject` returns once it has begun; `mend` once it is over."""

    name: str
    title: str
    does: str
    """What is done to the stage, in a line for people."""
    inject: Step
    mend: Step
    lasts: float = 0.0
    """Seconds for which it is left as it is once it was told: what it breaks beside itself must not be told again."""


async def _over_by_itself(stage: Stage) -> None:
    """It ends without us."""


async def _slow_query(stage: Stage) -> None:
    await stage.faults("POST", "/query", {"seconds": QUERY_SECONDS})


async def _slow_endpoint(stage: Stage) -> None:
    await stage.faults("PUT", "/slow", {"path": SLOW_PATH, "seconds": SLOW * 3})


async def _failing_endpoint(stage: Stage) -> None:
    await stage.faults("PUT", "/error", {"path": FAILING_PATH})


async def _all_is_well(stage: Stage) -> None:
    await stage.faults("DELETE", "")


async def _kill_postgres(stage: Stage) -> None:
    await asyncio.to_thread(stage.postgres.kill)


async def _start_postgres(stage: Stage) -> None:
    await asyncio.to_thread(stage.postgres.start_again)


def _strangers() -> Iterator[str]:
    """Addresses that nobody has used yet, from the blocks that RFC 5737 sets aside for examples."""
    unused = [f"{block}.{host}" for block in ("203.0.113", "192.0.2") for host in range(1, 255)]
    random.shuffle(unused)
    return itertools.chain(
        unused, (f"2001:db8:{high:x}:{low:x}::1" for high in range(1, 65536) for low in range(65536))
    )


_NEVER_SEEN: Final = _strangers()


async def _burst_of_sign_ins(stage: Stage) -> None:
    address = next(_NEVER_SEEN)
    for _ in range(BURST // _AT_ONCE):
        guesses = (stage.auth.sign_in("ana@example.com", "a guess", address=address) for _ in range(_AT_ONCE))
        await asyncio.gather(*guesses)


FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for fault in (
        Fault(
            name="slow-query",
            title="A query over 1 s",
            does=f"the application's role runs a statement that takes {QUERY_SECONDS:g} s",
            inject=_slow_query,
            mend=_over_by_itself,
        ),
        Fault(
            name="slow-endpoint",
            title="An endpoint turned slow",
            does=f"GET {SLOW_PATH} answers {SLOW * 3:g} s later than it did",
            inject=_slow_endpoint,
            mend=_all_is_well,
            lasts=1.0,
        ),
        Fault(
            name="failing-endpoint",
            title="An endpoint answering 500",
            does=f"GET {FAILING_PATH} raises",
            inject=_failing_endpoint,
            mend=_all_is_well,
            lasts=1.0,
        ),
        Fault(
            name="postgres-killed",
            title="Postgres killed",
            does="SIGKILL to the postmaster; every page of the application fails with it",
            inject=_kill_postgres,
            mend=_start_postgres,
            lasts=3.0,
        ),
        Fault(
            name="sign-in-burst",
            title="A burst of failed sign-ins",
            does=f"{BURST} wrong passwords from an address that was never seen before",
            inject=_burst_of_sign_ins,
            mend=_over_by_itself,
        ),
    )
}
"""In the order in which they are performed."""
