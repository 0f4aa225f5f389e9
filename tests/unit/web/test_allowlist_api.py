"""The allowlist's API: the same list, guards and words as `tocsin allowlist`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tocsin.access.allowlist import Put, Role, entry_of
from tocsin.access.tokens import Scope, mint
from tocsin.state.allowlist import AllowlistTable
from tocsin.testing.asking import ask
from tocsin.web.people import Person
from tocsin.web.server import application

from .conftest import NOW, Port

BASE = "/api/tocsin/v1/allowlist"


async def post(port: Port, path: str, body: Any, scope: Scope = Scope.ALLOWLIST_WRITE) -> tuple[int, Any]:
    answer = await port.ask("POST", BASE + path, scope, json=body)
    return answer.status, answer.json()


async def values(port: Port, query: str = "") -> list[str]:
    return [each["value"] for each in (await port.get(BASE + query, scope=Scope.ALLOWLIST_READ))["entries"]]


@pytest.fixture
async def listed(port: Port) -> Port:
    """One admin, a domain, a denial."""
    entries = [
        {"value": "Ana@example.com", "role": "admin", "note": "on call"},
        {"value": "example.com", "expires_at": "2026-03-02T12:00:00Z"},
        {"value": "eve@example.com", "effect": "deny"},
    ]
    assert (await post(port, "", {"entries": entries}))[0] == 200
    return port


async def test_entries_are_added_and_listed_with_what_they_say(listed: Port) -> None:
    """In the one spelling; by whom, and whether they count."""
    found = await listed.get(BASE, scope=Scope.ALLOWLIST_READ)
    first = found["entries"][0]
    assert (found["total"], found["folding"]) == (3, {"plus": False, "gmail_dots": False})
    assert {name: first[name] for name in ("value", "kind", "role", "note", "holds")} == {
        "value": "ana@example.com", "kind": "email", "role": "admin", "note": "on call", "holds": True,
    }  # fmt: skip
    assert first["added_by"].startswith("token ")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?q=ON+call", ["ana@example.com"]),
        ("?effect=deny", ["eve@example.com"]), ("?role=admin", ["ana@example.com"]),
        ("?role=none&effect=allow", ["example.com"]), ("?kind=domain", ["example.com"]), ("?holds=false", []),
    ],
)  # fmt: skip
async def test_the_list_is_searched_and_filtered(listed: Port, query: str, expected: list[str]) -> None:
    """Each of them narrows."""
    assert await values(listed, query) == expected


async def test_several_are_added_or_none(listed: Port) -> None:
    """One that is there already refuses all: 409, and the list stays."""
    status, body = await post(listed, "", {"entries": [{"value": "bo@example.com"}, {"value": "example.com"}]})
    assert (status, "example.com on the list already" in body["detail"]) == (409, True)
    assert "bo@example.com" not in await values(listed)


async def test_a_change_leaves_alone_what_it_does_not_name(listed: Port) -> None:
    """Null takes away, absence keeps."""
    status, body = await post(listed, "/change", {"value": "example.com", "note": "staff"})
    (line,) = body["changed"]
    assert (status, line["after"]["note"], line["after"]["expires_at"]) == (200, "staff", "2026-03-02T12:00:00Z")
    _, body = await post(listed, "/change", {"value": "example.com", "expires_at": None})
    assert (body["changed"][0]["after"]["note"], body["changed"][0]["after"]["expires_at"]) == ("staff", None)


async def test_an_entry_ends_now_or_later_and_stays_listed(listed: Port) -> None:
    """Whoever came in by it does not any more."""
    later = (NOW + timedelta(hours=1)).isoformat()
    await post(listed, "/expire", {"values": ["example.com"], "at": later})
    asked = {"address": "bo@example.com"}
    before = (await post(listed, "/test", asked, Scope.ALLOWLIST_READ))[1]
    await post(listed, "/expire", {"values": ["example.com"]})
    after = (await post(listed, "/test", asked, Scope.ALLOWLIST_READ))[1]
    assert (before["allowed"], after["allowed"], after["because"]) == (
        True, False, "example.com expired 2026-03-01 12:00Z",
    )  # fmt: skip
    assert await values(listed, "?holds=false") == ["example.com"]


async def test_a_verdict_is_explained(listed: Port) -> None:
    """What decided, and what else names the address."""
    found = (await post(listed, "/test", {"address": "Eve@example.com"}, Scope.ALLOWLIST_READ))[1]
    assert (found["allowed"], found["reason"], found["entry"]) == (False, "denied", "eve@example.com")
    assert [entry["value"] for entry in found["considered"]] == ["eve@example.com", "example.com"]


async def test_the_last_admin_stays(listed: Port) -> None:
    """Whichever way it is tried."""
    tries = [
        await post(listed, "/remove", {"values": ["ana@example.com"]}),
        await post(listed, "/expire", {"values": ["ana@example.com"]}),
        await post(listed, "/change", {"value": "ana@example.com", "role": "viewer"}),
        await post(listed, "/change", {"value": "ana@example.com", "role": None, "effect": "deny"}),
        await post(listed, "/import", {"csv": "value\nbo@example.com\n", "prune": True}),
    ]
    assert {(status, "no lasting admin" in body["detail"]) for status, body in tries} == {(409, True)}
    assert len(await values(listed)) == 3


class _Ana:
    """Comes in by an access token, as the list's admin."""

    async def by_cookie(self, cookie: str, now: Any) -> Any:
        raise AssertionError(cookie)

    async def by_bearer(self, token: str, now: Any) -> Person:
        return Person(name="ana@example.com", email="ana@example.com", role=Role.ADMIN, via="bearer", session="s",
                      since=now)  # fmt: skip


async def test_nobody_ends_their_own_access(listed: Port) -> None:
    """Though another admin is there; and the audit names the person."""
    app = application(listed.inside)
    app._people = _Ana()
    other = entry_of("cy@example.com", NOW, by="root", role=Role.ADMIN)
    await AllowlistTable(listed.state).change(Put((other,)), "root", NOW)

    async def done(value: str) -> int:
        return (await ask(app, "POST", f"{BASE}/remove", token="a.b.c", json={"values": [value]})).status

    assert [await done("ana@example.com"), await done("cy@example.com")] == [409, 200]
    audit = (await listed.get(f"{BASE}/audit?limit=1", scope=Scope.ALLOWLIST_READ))["audit"]
    assert [(line["actor"], line["action"], line["value"]) for line in audit] == [
        ("ana@example.com", "remove", "cy@example.com")
    ]


async def test_a_tokens_note_is_nobody_in_the_audit(listed: Port) -> None:
    """Or who makes tokens could write lines in an admin's name."""
    clear, row = mint([Scope.ALLOWLIST_WRITE], NOW, note="ana@example.com")
    await listed.state.tokens.put(row)
    await ask(listed.app, "POST", BASE, token=clear, json={"entries": [{"value": "x.example"}]})
    (line,) = (await listed.get(f"{BASE}/audit?value=x.example", scope=Scope.ALLOWLIST_READ))["audit"]
    assert line["actor"] == f"token {row.id}"


async def test_an_import_is_a_dry_run_until_it_is_applied(listed: Port) -> None:
    """The difference is the same both times."""
    sent = {"csv": "value,role,note\nana@example.com,admin,on call\nbo@example.com,viewer,\n", "prune": True}
    shown, before = await post(listed, "/import", sent), await values(listed)
    done = await post(listed, "/import", {**sent, "apply": True})
    assert ([each["value"] for each in shown[1]["added"]], [each["value"] for each in shown[1]["removed"]]) == (
        ["bo@example.com"], ["eve@example.com", "example.com"],
    )  # fmt: skip
    assert (shown[1]["applied"], {**shown[1], "applied": True}, len(before)) == (False, done[1], 3)
    assert await values(listed) == ["ana@example.com", "bo@example.com"]


async def test_what_is_exported_imports_without_a_change(listed: Port) -> None:
    """Formulas are guarded on the way out."""
    await post(listed, "", {"entries": [{"value": "x.example", "note": "=1+1"}]})
    answer = await listed.ask("GET", f"{BASE}/export", Scope.ALLOWLIST_READ)
    assert (answer.headers["content-type"], b"'=1+1" in answer.content) == ("text/csv; charset=utf-8", True)
    found = await post(listed, "/import", {"csv": answer.content.decode(), "prune": True})
    assert found == (200, {"applied": False, "added": [], "changed": [], "removed": []})


async def test_the_audit_goes_back_page_by_page(listed: Port) -> None:
    """`before` is the last line's number."""
    first = (await listed.get(f"{BASE}/audit?limit=2", scope=Scope.ALLOWLIST_READ))["audit"]
    rest = (await listed.get(f"{BASE}/audit?before={first[-1]['seq']}", scope=Scope.ALLOWLIST_READ))["audit"]
    assert [line["value"] for line in (*first, *rest)] == ["example.com", "eve@example.com", "ana@example.com"]


async def test_folding_is_told_and_set(listed: Port) -> None:
    """What is not named stays."""
    assert (await post(listed, "/folding", {}))[1] == {"folding": {"plus": False, "gmail_dots": False}}
    assert (await post(listed, "/folding", {"plus": True}))[1] == {"folding": {"plus": True, "gmail_dots": False}}
    assert (await post(listed, "/test", {"address": "ana+x@example.com"}))[1]["entry"] == "ana@example.com"


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("", {"entries": []}, "entries: Tuple should have at least 1 item"),
        ("", {"entries": [{"value": "com"}]}, "'com': the domain is not of the form"),
        ("", {"entries": [{"value": "x.example", "rôle": "admin"}]}, "entries.0.rôle: Extra inputs"),
        ("", {"entries": [{"value": "x.example", "role": "admin"}]}, "admin is given to an address"),
        ("", {"entries": [{"value": "x.example", "role": "owner"}]}, "entries.0.role: "),
        ("", {"entries": [{"value": "x.example", "note": "a\nb"}]}, "a note is one line"),
        ("", {"entries": [{"value": "x.example", "expires_at": "0001-01-01T00:00:00+14:00"}]}, "no time that can be"),
        ("", {"entries": [{"value": "x.example"}, {"value": "X.example"}]}, "named twice"),
        ("/change", {"note": "x"}, "value: Field required"),
        ("/remove", {"values": ["a@b@c.example"]}, "no entry: "),
        ("/expire", {"values": ["x.example"], "at": "soon"}, "at: "),
        ("/test", ["ana@example.com"], "the body: "),
        ("/import", {"csv": "value\nbo@\n"}, "csv:2: 'bo@'"),
    ],
)
async def test_what_makes_no_sense_is_a_problem_that_says_where(port: Port, path: str, body: Any, why: str) -> None:
    """400, and nothing is added."""
    status, answer = await post(port, path, body)
    assert (status, why in answer["detail"], await values(port)) == (400, True, []), answer["detail"]


@pytest.mark.parametrize("query", ["?effect=maybe", "?holds=1", "/audit?limit=0", "/audit?before=²", "/audit?value=a@"])
async def test_a_question_that_makes_no_sense_is_a_problem(port: Port, query: str) -> None:
    """400, not an empty answer that reads as none."""
    assert (await port.ask("GET", BASE + query, Scope.ALLOWLIST_READ)).status == 400


async def test_who_may_read_may_not_write(listed: Port) -> None:
    """And other scopes see nothing."""
    reading = [await post(listed, path, {}, Scope.ALLOWLIST_READ)
               for path in ("", "/change", "/expire", "/remove", "/import", "/folding")]  # fmt: skip
    assert {status for status, _ in reading} == {403}
    assert (await listed.ask("GET", BASE, Scope.ALERTS_READ)).status == 403


async def test_signing_keys_are_purged_by_who_may_change_the_list(listed: Port) -> None:
    """And by nobody who may only read it."""
    path = "/api/tocsin/v1/auth/purge-keys"
    refused = await listed.ask("POST", path, Scope.ALLOWLIST_READ, json={})
    answer = await listed.ask("POST", path, Scope.ALLOWLIST_WRITE, json={})
    changed = answer.json()["changed"]
    assert (refused.status, answer.status) == (403, 200)
    assert [(line["action"], line["value"], line["actor"].split()[0]) for line in changed] == [
        ("purge", "signing keys", "token")
    ]
    assert (await AllowlistTable(listed.inside.state).load()).purges == 1
