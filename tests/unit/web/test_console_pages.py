"""The console's pages: what they show, what they do, and that their forms are refused without their token."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tocsin.access.allowlist import Put, Role, entry_of
from tocsin.access.tokens import Scope
from tocsin.config import load_config
from tocsin.state.allowlist import AllowlistTable
from tocsin.testing.asking import Answer, ask
from tocsin.web.browser import CSRF_FIELD
from tocsin.web.console import console_routes
from tocsin.web.entrance import Entrance
from tocsin.web.gate import Gate
from tocsin.web.server import application

HERE = {"Host": "testserver", "Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
OURS = ["/static/htmx.min.js", "/static/console.js"]
HOSTILE = "<script>alert(1)</script>\"'{{ 7*7 }}"


@dataclass
class Admin:
    """A browser that a one-time link has let in."""

    app: Gate
    port: Any
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def listed(self) -> AllowlistTable:
        return AllowlistTable(self.port.state)

    async def ask(self, method: str, target: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        given = [
            *(headers or {}).items(),
            ("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())),
        ]
        answer = await ask(self.app, method, target, more_headers=given, **more)
        for line in answer.cookies:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    async def page(self, target: str) -> str:
        answer = await self.ask("GET", target, {"Accept": "text/html"})
        assert answer.status == 200, (target, answer.status, answer.content)
        return answer.content.decode()

    async def submit(self, target: str, page: str, **fields: str) -> Answer:
        found = re.search(r'name="csrf" value="([^"]+)"', await self.page(page))
        assert found, f"no form on {page}"
        return await self.ask("POST", target, HERE, form=[(CSRF_FIELD, found[1]), *fields.items()])


@pytest.fixture
async def admin(port: Any, tmp_path: Path) -> AsyncIterator[Admin]:
    """Signed in."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "routes: [{notify: [log]}]\nnotifiers: [{kind: console, name: log}]\nstate: {url: 'sqlite:///state.db'}\n"
        "web: {listen: '127.0.0.1:9475'}\n"
    )
    entrance = await Entrance.of(load_config(file, {}), port.state, port.clock)
    entrance.address = "127.0.0.1:9475"
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "ApiDown.md").write_text(f"# ApiDown\n\n{HOSTILE}\n")
    (tmp_path / "secret.md").write_text("not a runbook")
    inside = replace(port.inside, entrance=entrance, runbooks=lambda: folder)
    found = Admin(application(inside), port)
    link = urlsplit(await entrance.one_time_link())
    target = f"{link.path}?{link.query}"
    await found.submit("/login/link", target, code=parse_qs(link.query)["code"][0])
    yield found
    await entrance.close()


async def fires(port: Any, name: str = "ApiDown", **labels: str) -> str:
    """An alert comes in; → its incident's id."""
    every = {"alertname": name, "severity": "P0", "service": "api", **labels}
    end = port.clock.now() + timedelta(hours=1)
    body = [{"labels": every, "annotations": {"summary": f"{HOSTILE} is down"}, "endsAt": end.isoformat()}]
    assert (await port.ask("POST", "/api/v2/alerts", Scope.ALERTS_WRITE, json=body)).status == 200
    return str(port.pipeline.book.open[0].id)


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))


# Looking -------------------------------------------------------------------------------------------------------------


async def test_with_nothing_wrong_the_first_page_says_so(admin: Admin) -> None:
    """An empty page would leave one guessing."""
    text = await admin.page("/")
    assert "Nothing is wrong that can be seen" in text
    assert "Every source answers." in text


async def test_what_fires_is_on_the_first_page_and_escaped(admin: Admin) -> None:
    """Annotations are a peer's text: it becomes no element."""
    id = await fires(admin.port)
    text = await admin.page("/")
    assert ("1 open incident" in text, f"/incidents/{id}" in text, "/runbooks/ApiDown" in text) == (True, True, True)
    assert [attrs["src"] for tag, attrs in Tags(text).starts if tag == "script"] == OURS


async def test_every_page_is_whole_and_runs_no_script_but_ours(admin: Admin) -> None:
    """Each page that takes no parameter, and one of each that does: a heading, a language, nothing inline."""
    id = await fires(admin.port)
    await admin.submit("/allowlist", "/allowlist", value="eve@example.com", note=HOSTILE)
    fixed = [r.path for r in console_routes(admin.port.inside) if "GET" in r.asked_by and "{" not in r.path]
    targets = [path for path in fixed if path not in ("/allowlist/export.csv", "/allowlist/entry")]
    targets += [f"/incidents/{id}", "/incidents?state=all", "/runbooks/ApiDown"]
    targets += ["/allowlist/entry?value=eve%40example.com", f"/allowlist?{urlencode({'q': HOSTILE})}"]
    targets += [f"/allowlist/test?{urlencode({'address': HOSTILE})}"]
    for target in targets:
        starts = Tags(await admin.page(target)).starts
        names = [tag for tag, _ in starts]
        assert (names.count("h1"), names.count("main"), "style" in names) == (1, 1, False), target
        assert [attrs.get("src") for tag, attrs in starts if tag == "script"] == OURS, target
        assert [attrs["lang"] for tag, attrs in starts if tag == "html"] == ["en"]
        assert not [attrs for _, attrs in starts if "style" in attrs or any(name.startswith("on") for name in attrs)]


async def test_a_viewer_sees_no_forms_that_would_be_refused(admin: Admin) -> None:
    """A token that may only read, here."""
    id = await fires(admin.port)
    text = (await admin.port.ask("GET", f"/incidents/{id}", Scope.ALERTS_READ)).content.decode()
    assert ("Take it" in text, "Allowlist" in text) == (False, False)


async def test_a_runbook_is_shown_and_nothing_beside_the_folder(admin: Admin) -> None:
    """Names are names: no path is made of what is asked."""
    assert "# ApiDown" in await admin.page("/runbooks/ApiDown")
    statuses = [(await admin.ask("GET", f"/runbooks/{name}")).status for name in ("..%2Fsecret", "Nope", "%2e%2e")]
    assert statuses == [404, 404, 404]


async def test_a_runbook_leads_to_others_and_the_list_to_the_index(admin: Admin, tmp_path: Path) -> None:
    """At night on a phone a name in brackets is no way: it is a link, and only to a runbook."""
    folder = tmp_path / "runbooks"
    (folder / "README.md").write_text("- slow: [ApiDown](ApiDown.md), [x](javascript.md), [ApiDown](../secret.md)\n")
    assert 'href="/runbooks/README"' in await admin.page("/runbooks")
    page = await admin.page("/runbooks/README")
    assert re.findall(r'<a href="([^"]+)">ApiDown</a>', page) == ["/runbooks/ApiDown"]
    assert ("[x](javascript.md)" in page, "[ApiDown](../secret.md)" in page) == (True, True)


# Doing ---------------------------------------------------------------------------------------------------------------


async def test_an_incident_is_taken_and_closed(admin: Admin) -> None:
    """Under the name of who is signed in."""
    id = await fires(admin.port)
    taken = await admin.submit(f"/incidents/{id}/ack", f"/incidents/{id}")
    (incident,) = admin.port.pipeline.book.open
    assert (taken.status, taken.headers["location"]) == (303, f"/incidents/{id}?done=acked")
    assert incident.acked_by == "console on this host"
    await admin.submit(f"/incidents/{id}/resolve", f"/incidents/{id}", why="rolled back")
    assert "rolled back" in await admin.page(f"/incidents/{id}")


async def test_a_form_without_its_token_changes_nothing(admin: Admin) -> None:
    """Nor one from another site."""
    id = await fires(admin.port)
    bare = await admin.ask("POST", f"/incidents/{id}/ack", HERE, form=[])
    assert (bare.status, admin.port.pipeline.book.open[0].acked_by) == (403, "")


async def test_what_done_says_is_not_the_addresss_to_choose(admin: Admin) -> None:
    """A link can't put words into the console's mouth."""
    assert "Call this number" not in await admin.page("/?done=Call%20this%20number")


async def test_a_silence_is_made_after_its_preview_and_shows_what_it_hid(admin: Admin) -> None:
    """What it would hide is on the page that makes it; what it hid, on its own."""
    await fires(admin.port)
    typed = {"matchers": "service=~.+ alertname=~Api.*", "lasts": "2h", "why": HOSTILE}
    shown = await admin.page(f"/silences/new?{urlencode(typed)}")
    assert ("It hides 1 now, 0 in the last 30 days, including 1 P0" in shown, HOSTILE in shown) == (True, False)
    made = await admin.submit("/silences", f"/silences/new?{urlencode(typed)}", **typed)
    assert (made.status, made.headers["location"]) == (303, "/silences?done=silenced")
    await fires(admin.port, "ApiGone", service="web")
    (silence,) = admin.port.pipeline.book.silences.values()
    assert "1 incident<" in await admin.page("/silences")
    assert "ApiGone" in await admin.page(f"/silences/{silence.id}")
    await admin.submit("/silences/expire", "/silences", id=silence.id)
    ended = await admin.page("/silences")
    assert ("Ended, and hid something" in ended, silence.id in ended) == (True, True)
    assert "what it hid, " in await admin.page(f"/silences/{silence.id}")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"matchers": "service=~(", "lasts": "2h", "why": "x"}, "not a regular expression"),
        ({"matchers": "service=api", "lasts": "2 hours", "why": "x"}, "write it like 30s, 5m or 1h30m"),
        ({"matchers": "service=api", "lasts": "2h", "why": " "}, "a silence needs a reason"),
        ({"matchers": "service='", "lasts": "2h", "why": "x"}, "No closing quotation"),
    ],
)
async def test_a_silence_that_is_not_meant_is_refused_where_it_was_typed(
    admin: Admin, typed: dict[str, str], says: str
) -> None:
    """With what to mend, and what was typed still there."""
    answer = await admin.submit("/silences", "/silences/new?matchers=service%3Dapi", **typed)
    assert (answer.status, says in answer.content.decode()) == (422, True)
    assert admin.port.pipeline.book.silences == {}


async def test_incidents_are_listed_worst_first_and_then_the_newest(admin: Admin) -> None:
    """Those that have ended come after them, however bad they were."""
    order = (("over", "P0"), ("old", "P1"), ("bad", "P0"), ("new", "P1"))
    for service, severity in order:
        await fires(admin.port, service=service, severity=severity)
        admin.port.clock.jump(60)
        if service == "over":
            (first,) = admin.port.pipeline.book.open
            await admin.submit(f"/incidents/{first.id}/resolve", f"/incidents/{first.id}", why="done")
    for page, expected in (("", ["bad", "new", "old"]), ("?state=all", ["bad", "new", "old", "over"])):
        text = await admin.page(f"/incidents{page}")
        assert re.findall(r"<code>service=(\w+)</code>", text) == expected


async def test_a_silence_is_ended_and_one_that_is_gone_is_said_on_the_page(admin: Admin) -> None:
    """With the list as it is now, and why nothing was done."""
    now = admin.port.clock.now()
    matcher = {"name": "service", "value": "api", "isRegex": False, "isEqual": True}
    ends = (now + timedelta(hours=1)).isoformat()
    body = {"matchers": [matcher], "startsAt": now.isoformat(), "endsAt": ends, "createdBy": "a", "comment": "b"}
    made = await admin.port.ask("POST", "/api/v2/silences", Scope.ALERTS_WRITE, json=body)
    id = made.json()["silenceID"]
    first = await admin.submit("/silences/expire", "/silences", id=id)
    second = await admin.submit("/silences/expire", "/silences", id="gone")
    assert (first.headers["location"], second.status) == ("/silences?done=expired", 409)
    assert ('role="alert"' in second.content.decode(), "Nothing is hidden." in second.content.decode()) == (True, True)


# The allowlist -------------------------------------------------------------------------------------------------------


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


async def test_htmx_is_told_where_to_sign_in_when_the_session_is_over(admin: Admin) -> None:
    """A refresh that is answered 401 takes the browser to the login and, after it, back; never elsewhere."""
    admin.cookies.clear()
    heard = []
    for page in ("http://testserver/incidents?state=all", "http://evil.example//evil.example", "javascript:alert(1)"):
        answer = await admin.ask("GET", "/incidents", {"HX-Request": "true", "HX-Current-URL": page, "Accept": "*/*"})
        heard.append((answer.status, answer.headers["hx-redirect"]))
        # Where Basic is offered a browser opens a window of its own, and the script waits for it.
        assert answer.headers["www-authenticate"] == 'Bearer realm="tocsin"'
    assert heard == [(401, "/login?next=%2Fincidents%3Fstate%3Dall"), (401, "/login"), (401, "/login")]


async def test_a_page_that_refreshes_itself_keeps_no_session_open(admin: Admin) -> None:
    """Two hours without a hand on the keyboard end it, though its tab asked every few seconds."""
    statuses = []
    for _ in range(5):
        await admin.port.clock.advance(timedelta(minutes=29).total_seconds())
        statuses.append((await admin.ask("GET", "/incidents", {"X-Tocsin-Live": "1"})).status)
    assert statuses == [200, 200, 200, 200, 401]


async def test_a_person_who_asks_for_what_is_not_there_is_shown_a_page(admin: Admin) -> None:
    """With the words that a program gets as a problem."""
    page = await admin.ask("GET", "/allowlist/entry?value=no%40example.com", {"Accept": "text/html"})
    problem = await admin.ask("GET", "/allowlist/entry?value=no%40example.com")
    said = problem.json()["detail"]
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert (problem.status, problem.headers["content-type"]) == (404, "application/problem+json")
    assert f"<p>{said}</p>" in page.content.decode()


def test_htmx_is_the_file_that_npm_publishes(root: Path) -> None:
    """Of the version and digest that docs/dependencies.md names; its settings need no eval and no inline style."""
    static = root / "tocsin" / "web" / "console" / "static"
    page = (root / "docs" / "dependencies.md").read_text()
    found = re.search(r"`htmx\.org` (\d+\.\d+\.\d+).*?sha256\s`([0-9a-f]{64})`", page, re.DOTALL)
    assert found
    script = (static / "htmx.min.js").read_bytes()
    assert (hashlib.sha256(script).hexdigest(), f'version:"{found[1]}"'.encode() in script) == (found[2], True)
    assert "Zero-Clause BSD" in (static / "htmx.LICENSE.txt").read_text()
    layout = (static.parent / "templates" / "layout.html.j2").read_text()
    settings = re.search(r"name=\"htmx-config\" content='([^']+)'", layout)
    assert settings
    wanted = {"allowEval": False, "allowScriptTags": False, "includeIndicatorStyles": False, "historyCacheSize": 0}
    assert wanted.items() <= json.loads(settings[1]).items()
