"""The console's pages: what they show, to whom, and that nothing but our scripts runs on them."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

from tocsin.access.tokens import Scope
from tocsin.web.console import console_routes

from .pages import HOSTILE, Admin, Tags, fires

OURS = ["/static/htmx.min.js", "/static/console.js"]


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
