"""What checking access costs a request: token and allowlist, beside a plain PyJWT decode of the same token.

    python bench/access.py [--rounds 40] [--calls 150] [--json]

Per algorithm, µs of CPU for one check:
  plain    jwt.decode with the PyJWK, audience and issuer: what an application does that checks no more
  cold     headers -> bearer -> every check of ours -> allowlist, the memory of verified tokens off
  cached   the same, the token verified before
and what the allowlist's ruling alone costs, with 10 and with 10,000 entries. Plain and ours are measured in short
turns, so that both see the same machine; the median turn counts, and of the ratio the median of the turns' ratios.

Aims: cold at most 1.3 x plain (ES256), cached at most 30 µs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import jwt

from tocsin.access.allowlist import Listed, Roster, entry_of
from tocsin.access.door import Admitted, Door
from tocsin.access.jwt import KeySource, SharedSecret, TokenPolicy, TokenVerifier
from tocsin.access.jwt.compact import Header
from tocsin.access.jwt.keys import Key, KeySet
from tocsin.testing.forge import ISSUER, SECRET, Forge
from tocsin.testing.protected import MemoryShelf

AIM_RATIO, AIM_CACHED = 1.3, 30.0
ENTRIES = 10_000


class FetchedKeys:
    """A key set that is there already: fetching is once in minutes, and no part of a request."""

    def __init__(self, forge: Forge) -> None:
        self._keys = KeySet.read(forge.jwks())

    async def key(self, header: Header, now: datetime) -> Key:
        return Key(self._keys.keys[header.kid], None)

    def purge(self) -> None: ...


def listed(count: int, now: datetime) -> Listed:
    values = ["ana@example.com", "*.corp.example", *(f"user{number}@example.com" for number in range(count - 2))]
    return Listed(entries=tuple(entry_of(value, now, by="bench") for value in values), version=1)


def door(name: str, source: KeySource, now: datetime, *, cached_tokens: int, entries: int = ENTRIES) -> Door:
    roster = Roster(MemoryShelf(listed(entries, now)), ttl=1.0)
    verifier = TokenVerifier({name: source}, TokenPolicy(issuer=ISSUER), cached_tokens=cached_tokens)
    return Door(verifier, roster)


async def spent(check: Callable[[], Awaitable[Any]], calls: int) -> float:
    """µs of CPU for one."""
    began = time.process_time()
    for _ in range(calls):
        await check()
    return (time.process_time() - began) / calls * 1e6


async def measure(forge: Forge, rounds: int, calls: int, now: datetime) -> dict[str, float]:
    name = forge.alg
    source: KeySource = SharedSecret(SECRET) if name == "HS256" else FetchedKeys(forge)
    token = forge.token()
    headers = [
        (b"host", b"app.example"),
        (b"user-agent", b"Mozilla/5.0"),
        (b"accept", b"application/json"),
        (b"authorization", f"Bearer {token}".encode()),
    ]
    key = await source.key(Header(name, forge.kid), now)
    assert isinstance(key, Key)

    async def plain() -> None:
        jwt.decode(
            token,
            key.jwk,
            algorithms=[name],
            audience="authenticated",
            issuer=ISSUER,
            options={"require": ["exp", "iat", "sub"], "strict_aud": True},
        )

    ours = {
        "cold": door(name, source, now, cached_tokens=0),
        "cached": door(name, source, now, cached_tokens=10_000),
    }

    def through(kind: str) -> Callable[[], Awaitable[Any]]:
        async def check() -> None:
            # The time stands still, so that no turn falls on a look at the stored list.
            assert isinstance(await ours[kind].admit(headers, now), Admitted)

        return check

    checks = {"plain": plain, "cold": through("cold"), "cached": through("cached")}
    turns = [{kind: await spent(check, calls) for kind, check in checks.items()} for _ in range(rounds)]
    middle = {kind: median(turn[kind] for turn in turns) for kind in checks}
    return {**middle, "ratio": median(turn["cold"] / turn["plain"] for turn in turns)}


async def measure_ruling(entries: int, calls: int, rounds: int, now: datetime) -> float:
    roster = Roster(MemoryShelf(listed(entries, now)))
    await roster.ruling("ana@example.com", now)
    return median([await spent(lambda: roster.ruling("ana@example.com", now), calls) for _ in range(rounds)])


async def main(rounds: int, calls: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    found: dict[str, Any] = {}
    for make in (Forge.es256, Forge.rs256, Forge.hs256):
        forge = make(now=now)
        found[forge.alg] = {kind: round(value, 2) for kind, value in (await measure(forge, rounds, calls, now)).items()}
    found["ruling"] = {
        str(entries): round(await measure_ruling(entries, calls, rounds, now), 2) for entries in (10, ENTRIES)
    }
    es256 = found["ES256"]
    found["aims_met"] = es256["ratio"] <= AIM_RATIO and es256["cached"] <= AIM_CACHED
    return found


def show(found: dict[str, Any]) -> None:
    print(f"{'µs of CPU per request':<24}{'plain PyJWT':>12}{'ours, cold':>12}{'ratio':>8}{'ours, cached':>14}")
    for name in ("ES256", "RS256", "HS256"):
        row = found[name]
        print(f"{name:<24}{row['plain']:>12.1f}{row['cold']:>12.1f}{row['ratio']:>8.2f}{row['cached']:>14.1f}")
    for entries, cost in found["ruling"].items():
        print(f"the allowlist's ruling alone, {int(entries):,} entries: {cost:.1f} µs")
    verdict = "met" if found["aims_met"] else "missed"
    print(f"aims (ES256 cold <= {AIM_RATIO} x plain, cached <= {AIM_CACHED:.0f} µs): {verdict}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=150)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(main(options.rounds, options.calls))
    print(json.dumps(result)) if options.json else show(result)
