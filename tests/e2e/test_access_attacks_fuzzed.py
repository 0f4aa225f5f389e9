"""Tokens that nobody thought of, over real HTTP, under ES256, RS256 and HS256: none comes in.

They are few in `make test`, 100,000 in `make attacks`. Against the daemon's own port they are sent by
test_console_door_daemon.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.access.allowlist import Listed, entry_of
from tocsin.testing.forge import ABSENT, Forge, b64
from tocsin.testing.protected import Target, attacked

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
FULL = os.environ.get("TOCSIN_ATTACK") == "full"
FUZZED = 100_000 if FULL else 150


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, Target]]:
    with attacked(Listed(entries=(entry_of("ana@example.com", NOW, by="root"),), version=1), NOW) as running:
        yield running


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30),
    st.lists(st.text(max_size=5), max_size=3), st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)  # fmt: skip
NEEDED = ("iss", "sub", "aud", "iat", "exp", "role", "session_id")
GOOD = Forge.hs256(now=NOW).claims()


@st.composite
def wrong_claims(draw: st.DrawFn) -> dict[str, Any]:
    """At least one needed claim is not as it must be."""
    names = draw(st.lists(st.sampled_from(NEEDED), min_size=1, max_size=3, unique=True))
    found = {name: draw(st.one_of(JUNK, st.just(ABSENT))) for name in names}
    name = names[0]
    if name in ("iat", "exp"):
        # Nearby times may be good ones: only what is far off is surely wrong.
        far = st.one_of(JUNK.filter(lambda v: isinstance(v, bool) or not isinstance(v, (int, float))), st.just(ABSENT),
                        st.integers(AT + 100_000, 2**62), st.integers(-(2**62), AT - 100_000))  # fmt: skip
        return {**found, name: draw(far)}
    if found[name] == GOOD[name] or (name in ("sub", "session_id") and isinstance(found[name], str)):
        found[name] = ABSENT
    return found


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, float, str]]:
    """Where in a token something is replaced, put in or taken out."""
    alphabet = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
    one = st.tuples(st.sampled_from(["set", "put", "cut"]), st.floats(0, 1, exclude_max=True), alphabet)
    return draw(st.lists(one, min_size=1, max_size=4))


def edited(token: str, changes: list[tuple[str, float, str]]) -> str:
    for what, where, letter in changes:
        at = int(where * len(token))
        rest = token[at:] if what == "put" else token[at + 1 :]
        token = token[:at] + ("" if what == "cut" else letter) + rest
    return token


ATTACK = st.one_of(
    st.tuples(st.just("claims"), wrong_claims()),
    st.tuples(st.just("edit"), edits()),
    st.tuples(st.just("stranger"), st.dictionaries(st.sampled_from([*NEEDED, "email", "kid"]), JUNK, max_size=3)),
    st.tuples(
        st.just("header"), st.dictionaries(st.sampled_from(["alg", "typ", "crit", "jku", "b64"]), JUNK, min_size=1)
    ),
    st.tuples(st.just("text"), st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=200)),
    st.tuples(st.just("parts"), st.tuples(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=70))),
)


def made(forge: Forge, attack: tuple[str, Any]) -> str:
    kind, how = attack
    match kind:
        case "claims":
            return forge.token(**how)
        case "edit":
            return edited(forge.token(), how)
        case "stranger":
            stranger = Forge.hs256("another secret of more than thirty-two bytes", now=NOW, kid=forge.kid)
            return stranger.token(header={"alg": forge.alg}, **{n: v for n, v in how.items() if n != "kid"})
        case "header":
            return forge.token(header=how)
        case "text":
            return str(how)
    return ".".join(b64(part) for part in how)


def harmless(forge: Forge, attack: tuple[str, Any]) -> bool:
    """The attack happens to change nothing."""
    return attack[0] == "header" and forge.header(**attack[1]) == forge.header()


@dataclass
class Count:
    """What became of the tokens."""

    sent: int = 0
    accepted: list[Any] = field(default_factory=list)
    broken: list[Any] = field(default_factory=list)


def attack_with(doors: Mapping[str, tuple[Forge, Callable[[str], int]]], capsys: pytest.CaptureFixture[str]) -> Count:
    """About FUZZED attacks, each on every door → what became of them. `doors`: the key, and the answer to a token."""
    count = Count()
    good = {name: forge.token() for name, (forge, _) in doors.items()}

    @settings(
        max_examples=FUZZED // len(doors), deadline=None, database=None, suppress_health_check=list(HealthCheck),
        derandomize=not FULL,
    )  # fmt: skip
    @given(ATTACK)
    def attack_once(attack: tuple[str, Any]) -> None:
        for name, (forge, status_of) in doors.items():
            token = edited(good[name], attack[1]) if attack[0] == "edit" else made(forge, attack)
            if token == good[name] or harmless(forge, attack):
                continue
            count.sent += 1
            status = status_of(token)
            if status == 200:
                count.accepted.append((name, attack))
            elif status >= 500:
                count.broken.append((name, attack))

    attack_once()
    with capsys.disabled():
        if FULL:
            told = f"{count.sent} fuzzed tokens, {len(count.accepted)} accepted, {len(count.broken)} errors"
            print(f"\n{', '.join(doors)}: {told}")
    return count


@pytest.mark.untraced
def test_no_fuzzed_token_comes_in(targets: dict[str, Target], capsys: pytest.CaptureFixture[str]) -> None:
    """Accepted: 0. And none of them is an error of the server."""
    count = attack_with({name: (target.forge, target.status_of) for name, target in targets.items()}, capsys)
    assert (count.accepted, count.broken, count.sent > FUZZED // 2) == ([], [], True)
    assert {target.status_of(target.forge.token()) for target in targets.values()} == {200}
