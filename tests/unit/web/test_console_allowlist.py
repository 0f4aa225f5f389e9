"""The console's allowlist: entries, the import that is looked at first, the export, the audit."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

from tocsin.access.allowlist import Put, Role, entry_of

from .pages import Admin, Tags


async def test_an_entry_is_added_found_changed_and_removed(admin: Admin) -> None:
    """Each step is in the audit, with who did it."""
    added = await admin.submit(
        "/allowlist",
        "/allowlist",
        value=" Eve@Example.com ",
        role="viewer",
        note="contractor",
        expires_at="2027-01-01T12:00",
    )
    assert added.headers["location"] == "/allowlist?done=added"
    assert "eve@example.com" in await admin.page("/allowlist?q=contract&effect=allow&role=viewer&kind=email")
    assert "None of the 1 fits" in await admin.page("/allowlist?role=admin")
    entry = "/allowlist/entry?value=eve%40example.com"
    await admin.submit("/allowlist/entry", entry, value="eve@example.com", effect="deny", do="change")
    assert "Stays out" in await admin.page("/allowlist/test?address=EVE%40example.com")
    await admin.submit("/allowlist/entry", entry, value="eve@example.com", do="remove")
    lines = await admin.listed.audit()
    assert [(each.line.action, each.line.actor) for each in lines] == [
        (action, "console on this host") for action in ("remove", "change", "add")
    ]
    assert "contractor" not in await admin.page("/allowlist")


@pytest.mark.parametrize(
    ("value", "fields", "says"),
    [
        ("a@b@c", {}, {"value": "@"}),
        ("eve@example.com", {"expires_at": "soon"}, {"expires_at": "is no time"}),
        ("example.com", {"role": "admin"}, {"role": "not to a whole domain"}),
        ("a b", {"role": "root", "expires_at": "?"}, {"value": "", "role": "none of viewer", "expires_at": "no time"}),
    ],
)
async def test_what_is_wrong_with_an_entry_is_said_and_what_was_typed_kept(
    admin: Admin, value: str, fields: dict[str, str], says: dict[str, str]
) -> None:
    """Nobody types a form twice; each mistake stands at its field, and a reader of the page is told so."""
    answer = await admin.submit("/allowlist", "/allowlist", value=value, note="kept", **fields)
    text = answer.content.decode()
    told = dict(re.findall(r'id="(\w+)-wrong">([^<]*)<', text))
    marked = {attrs["name"] for _, attrs in Tags(text).starts if attrs.get("aria-invalid") == "true"}
    assert (answer.status, 'value="kept"' in text, marked, told.keys()) == (422, True, says.keys(), says.keys())
    assert [name for name, part in says.items() if part not in told[name]] == []
    assert [name for name in says if f'aria-describedby="{name}-wrong"' not in text.replace(f"{name}-hint ", "")] == []
    assert (answer.headers["hx-retarget"], answer.headers["hx-push-url"]) == ("#panel", "false")
    assert (await admin.listed.load()).entries == ()


async def test_the_last_admin_can_not_be_removed(admin: Admin) -> None:
    """The page says what would do."""
    now = admin.port.clock.now()
    await admin.listed.change(Put((entry_of("ana@example.com", now, by="tests", role=Role.ADMIN),)), "tests", now)
    answer = await admin.submit(
        "/allowlist/entry", "/allowlist/entry?value=ana%40example.com", value="ana@example.com", do="remove"
    )
    assert (answer.status, "make another one first" in answer.content.decode()) == (422, True)


async def test_an_import_shows_what_it_would_do_before_it_does_it(admin: Admin) -> None:
    """The same text, another button."""
    await admin.submit("/allowlist", "/allowlist", value="old@example.com")
    text = "value,effect,role,expires_at,note\nnew@example.com,allow,viewer,,\n*.bad.example,deny,,,\n"
    page = "/allowlist/import"
    look = (await admin.submit(page, page, text=text, prune="yes", do="look")).content.decode()
    shown = [
        part
        for part in ("2 to add, 0 to change, 1 to remove", "new@example.com", "*.bad.example", "old@example.com")
        if part in look
    ]
    before = [entry.value for entry in (await admin.listed.load()).entries]
    done = await admin.submit(page, page, text=text, prune="yes", do="import")
    after = [entry.value for entry in (await admin.listed.load()).entries]
    assert (len(shown), before, done.status) == (4, ["old@example.com"], 303)
    assert sorted(after) == ["*.bad.example", "new@example.com"]


async def test_a_bad_line_of_an_import_is_named_and_nothing_is_done(admin: Admin) -> None:
    """With its number."""
    page = "/allowlist/import"
    answer = await admin.submit(page, page, text="value\nfine@example.com\na@@b\n", do="import")
    assert (answer.status, "pasted.csv:3" in answer.content.decode()) == (422, True)
    assert (await admin.listed.load()).entries == ()


async def test_the_export_is_safe_in_a_spreadsheet(admin: Admin) -> None:
    """A note that begins like a formula is quoted."""
    await admin.submit("/allowlist", "/allowlist", value="eve@example.com", note="=1+1")
    answer = await admin.ask("GET", "/allowlist/export.csv")
    assert (answer.headers["content-type"], "'=1+1" in answer.content.decode()) == ("text/csv; charset=utf-8", True)


async def test_an_entry_is_expired_by_a_button_and_found_by_its_state(admin: Admin) -> None:
    """It stays on the list, out of force, and its other terms are kept."""
    for value in ("eve@example.com", "vic@example.com"):
        await admin.submit("/allowlist", "/allowlist", value=value, note="contractor", role="viewer")
    entry = "/allowlist/entry?value=eve%40example.com"
    ended = await admin.submit("/allowlist/entry", entry, value="eve@example.com", do="expire")
    found = {state: await admin.page(f"/allowlist?{urlencode({'state': state})}") for state in ("expired", "in force")}
    listed = {state: re.findall(r"value=(\w+)%40", text) for state, text in found.items()}
    assert (ended.headers["location"], listed) == (
        "/allowlist?done=ended", {"expired": ["eve"], "in force": ["vic"]},
    )  # fmt: skip
    assert "contractor" in found["expired"]
    assert "Expire now" not in await admin.page(entry)


async def test_what_was_typed_into_a_change_that_is_refused_is_kept(admin: Admin) -> None:
    """And where the list refuses it as a whole, the page says so in the form."""
    await admin.submit("/allowlist", "/allowlist", value="eve@example.com")
    entry = "/allowlist/entry?value=eve%40example.com"
    answer = await admin.submit("/allowlist/entry", entry, value="eve@example.com", note="new", expires_at="never")
    again = await admin.submit("/allowlist", "/allowlist", value="eve@example.com", note="twice")
    texts = [each.content.decode() for each in (answer, again)]
    assert [each.status for each in (answer, again)] == [422, 422]
    assert ('value="new"' in texts[0], 'value="never"' in texts[0], 'value="twice"' in texts[1]) == (True, True, True)
    assert "on the list already" in texts[1]


async def test_the_audit_says_what_a_change_changed(admin: Admin) -> None:
    """From what to what; of one entry where one is asked for."""
    for value in ("eve@example.com", "vic@example.com"):
        await admin.submit("/allowlist", "/allowlist", value=value, role="viewer")
    entry = "/allowlist/entry?value=eve%40example.com"
    await admin.submit("/allowlist/entry", entry, value="eve@example.com", role="operator", note="on call")
    text = await admin.page("/allowlist/audit?value=EVE%40example.com")
    assert ("role viewer → operator" in text, "note “on call”" in text, "vic@" in text) == (True, True, False)
