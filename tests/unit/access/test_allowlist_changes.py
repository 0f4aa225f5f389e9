"""What may be changed, and by whom; told by the outcome, whatever operation leads there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tocsin.access.allowlist import (
    BadAddress,
    Change,
    ChangeRefused,
    Effect,
    Entry,
    Fold,
    Folding,
    Kind,
    Listed,
    Put,
    Remove,
    Replace,
    Role,
    entry_of,
)
from tocsin.access.allowlist.change import apply


def listed(now: datetime, *given: Entry) -> Listed:
    return Listed(entries=given)


def made(now: datetime, text: str, **fields: Any) -> Entry:
    return entry_of(text, now, by="root", **fields)


@pytest.fixture
def ana(now: datetime) -> Entry:
    return made(now, "ana@example.com", role=Role.ADMIN)


@pytest.fixture
def bob(now: datetime) -> Entry:
    return made(now, "bob@example.com", role=Role.ADMIN)


LAST = [
    lambda now: Remove(("ana@example.com",)),
    lambda now: Put((made(now, "ana@example.com", role=Role.OPERATOR),)),
    lambda now: Put((made(now, "ana@example.com", role=Role.ADMIN, expires_at=now + timedelta(days=1)),)),
    lambda now: Put((made(now, "ana@example.com", effect=Effect.DENY),)),
    lambda now: Put((made(now, "example.com", effect=Effect.DENY),)),
    lambda now: Replace((made(now, "carl@example.com"),)),
]


@pytest.mark.parametrize("way", LAST)
def test_nobody_ends_the_last_admin_by_any_way(now: datetime, ana: Entry, way: Any) -> None:
    """Removal, a smaller role, an expiry, a deny on them or their domain, an import without them."""
    with pytest.raises(ChangeRefused, match=r"no lasting admin \(ana@example.com is the last\)"):
        apply(way(now), listed(now, ana), "cli:root", now)


@pytest.mark.parametrize("way", LAST)
def test_nobody_ends_their_own_access_by_any_way(now: datetime, ana: Entry, bob: Entry, way: Any) -> None:
    """Even while there is another admin, who can do it for them."""
    with pytest.raises(ChangeRefused):
        apply(way(now), listed(now, ana, bob), "Ana@Example.com", now)


@pytest.mark.parametrize("way", LAST[:4])
def test_another_admin_may(now: datetime, ana: Entry, bob: Entry, way: Any) -> None:
    """One stays, and it is not themself."""
    _, lines = apply(way(now), listed(now, ana, bob), "bob@example.com", now)
    assert [line.value for line in lines] == ["ana@example.com"]


@pytest.mark.parametrize("way", LAST)
def test_break_glass_asks_nothing_and_says_so(now: datetime, ana: Entry, way: Any) -> None:
    """The audit marks what was done past the guards."""
    _, lines = apply(way(now), listed(now, ana), "cli:root", now, guarded=False)
    assert {line.action[-1] for line in lines} == {"!"}


def test_folding_may_not_end_the_last_admin_either(now: datetime, ana: Entry) -> None:
    """A denied tag becomes the admin's own address."""
    denied = made(now, "ana+old@example.com", effect=Effect.DENY)
    with pytest.raises(ChangeRefused, match="no lasting admin"):
        apply(Fold(Folding(plus=True)), listed(now, ana, denied), "cli:root", now)


def test_a_list_without_an_admin_may_be_changed(now: datetime) -> None:
    """As it is at the start, or where the console is not used."""
    before = listed(now, made(now, "example.com"))
    after, _ = apply(Remove(("example.com",)), before, "cli:root", now)
    assert after.entries == ()


def test_a_temporary_admin_is_not_the_last_one(now: datetime, ana: Entry) -> None:
    """They would lock everybody out by waiting."""
    temporary = made(now, "bob@example.com", role=Role.ADMIN, expires_at=now + timedelta(hours=1))
    with pytest.raises(ChangeRefused, match="lasting"):
        apply(Remove(("ana@example.com",)), listed(now, ana, temporary), "cli:root", now)


def test_who_added_an_entry_and_when_outlives_a_change(now: datetime) -> None:
    """The audit has who changed it."""
    first = made(now, "example.com")
    later = now + timedelta(days=1)
    after, lines = apply(
        Put((entry_of("example.com", later, by="bob@example.com", note="all"),)), listed(now, first), "x", later
    )
    assert (after.entries[0].added_by, after.entries[0].added_at, after.entries[0].note) == ("root", now, "all")
    assert [(line.action, line.actor, (line.after or {})["note"]) for line in lines] == [("change", "x", "all")]


def test_what_changes_nothing_is_not_audited(now: datetime, ana: Entry) -> None:
    """An import run twice leaves one trace."""
    assert apply(Replace((ana,)), listed(now, ana), "cli:root", now)[1] == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda now: Put((made(now, "ana@example.com"),), only_new=True), "on the list already"),
        (lambda now: Remove(("nobody@example.com",)), "not on the list"),
    ],
)
def test_a_change_of_what_is_otherwise_says_so(now: datetime, ana: Entry, change: Any, says: str) -> None:
    """And leaves the list alone."""
    asked: Change = change(now)
    with pytest.raises(ChangeRefused, match=says):
        apply(asked, listed(now, ana), "cli:root", now)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("Ana@Example.com", ("ana@example.com", Kind.EMAIL)),
        ("@Example.com", ("example.com", Kind.DOMAIN)),
        ("BÜCHER.example", ("xn--bcher-kva.example", Kind.DOMAIN)),
        ("ana@BÜCHER.example", ("ana@xn--bcher-kva.example", Kind.EMAIL)),
        ("*.Corp.example", ("*.corp.example", Kind.WILDCARD)),
        (".corp.example", ("*.corp.example", Kind.WILDCARD)),
    ],
)
def test_what_somebody_types_is_understood(now: datetime, typed: str, expected: tuple[str, Kind]) -> None:
    """By its form, and brought to the spelling that is compared."""
    found = made(now, typed)
    assert (found.value, found.kind) == expected


@pytest.mark.parametrize(
    "typed",
    ["", "*", "*.", "*.com", "com", "*@example.com", "a.*.example", "**.example.com", "example.com/", "a@b@c"],
)
def test_what_would_let_in_too_many_is_refused(now: datetime, typed: str) -> None:
    """A whole top-level domain, a star in the middle, an address of two parts."""
    with pytest.raises(BadAddress):
        made(now, typed)


@pytest.mark.parametrize(
    "fields",
    [{"effect": Effect.DENY, "role": Role.VIEWER}, {"role": Role.ADMIN}, {"note": "two\nlines"}, {"note": "x" * 501}],
)
def test_an_entry_that_makes_no_sense_is_refused(now: datetime, fields: dict[str, Any]) -> None:
    """A denied role, a domain full of admins, a note that breaks a list."""
    with pytest.raises(BadAddress):
        made(now, "example.com", **fields)
