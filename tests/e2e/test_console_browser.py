"""The console in Debian's Chromium, before a real daemon and the stand-in Supabase Auth."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from tocsin.testing.console import PASSWORD, ConsoleSite, chrome, console_site

pytestmark = [pytest.mark.peer, pytest.mark.untraced]

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PAGES = (
    "/", "/incidents", "/incidents/{id}", "/silences", "/silences/new?matchers=service%3Dapi&why=x", "/allowlist",
    "/allowlist?q=nobody",
    "/allowlist/entry?value=vic%40example.com", "/allowlist/test?address=vic%40example.com", "/allowlist/import",
    "/allowlist/audit", "/runbooks", "/runbooks/PostgresDown", "/account", "/no/such/page",
)  # fmt: skip
EXPECTED = re.compile(r"status of 4|ERR_INTERNET_DISCONNECTED|^htmx:(afterRequest|sendError|responseError)")
EVERYTHING = '{resultTypes: ["violations"], rules: {"target-size": {enabled: true}}}'
LOOKS = '{runOnly: ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"]}'
AXE = """axe.run(%s).then((all) => all.violations
  .filter((each) => ["serious", "critical"].includes(each.impact))
  .map((each) => [each.id, each.nodes.map((node) => node.html)]))"""
CSV = "value,effect,role,expires_at,note\nvic@example.com,allow,operator,,promoted\n*.contractors.example,deny,,,\n"


@pytest.fixture(scope="module")
def browser(real_peer: Callable[[str], Path]) -> Iterator[Browser]:
    real_peer("chromium")
    with sync_playwright() as playwright:
        started = chrome(playwright)
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleSite]:
    with console_site(tmp_path_factory.mktemp("console")) as started:
        started.fires("ApiDown", "P0", "api answers nothing", service="api")
        yield started


@pytest.fixture(scope="module")
def signed_in(browser: Browser, site: ConsoleSite) -> Any:
    """The cookies of an admin's session that no test ends."""
    context = browser.new_context(base_url=site.address)
    sign_in(context.new_page())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(browser: Browser, site: ConsoleSite, signed_in: Any) -> Iterator[Page]:
    """An admin's tab. At the end: nothing was asked of anybody else, and the browser had nothing to complain of."""
    context = browser.new_context(base_url=site.address, storage_state=signed_in, viewport=DESKTOP)  # type: ignore[arg-type]
    asked, complaints = watched(context)
    yield context.new_page()
    context.close()
    assert [url for url in asked if not url.startswith((site.address, "blob:", "data:"))] == []
    assert unexpected(complaints) == []


def watched(context: BrowserContext) -> tuple[list[str], list[str]]:
    """(every address that is asked for, what the console of the browser says: policy violations among it)."""
    asked: list[str] = []
    complaints: list[str] = []

    def ask(request: Request) -> None:
        asked.append(request.url)

    context.on("request", ask)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    return asked, complaints


def unexpected(complaints: list[str]) -> list[str]:
    """Without what a refused form (a 4xx) and a daemon that is away leave there."""
    return [text for text in complaints if not EXPECTED.search(text)]


def sign_in(page: Page, email: str = "ana@example.com", password: str = PASSWORD) -> None:
    page.goto("/login?next=/allowlist")
    page.get_by_label("E-mail", exact=True).fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def rows(page: Page) -> list[str]:
    """The entries that the list shows."""
    return [text.removesuffix(": change") for text in page.locator("#entries tbody th").all_text_contents()]


def add(page: Page, value: str, **fields: str) -> None:
    form = page.locator("#panel")
    form.get_by_label("Address, domain").fill(value)
    if "role" in fields:
        form.get_by_label("Role").select_option(fields["role"])
    form.get_by_label("Note").fill(fields.get("note", ""))
    form.get_by_role("button", name="Add").click()


def with_role(page: Page, value: str, role: str) -> None:
    """The entry has that role now."""
    page.get_by_role("link", name=f"{value} : change").click()
    expect(page.locator("#panel-title")).to_have_text(f"Change {value}")
    page.locator("#panel").get_by_label("Role").select_option(role)
    page.get_by_role("button", name="Change").click()
    expect(page.locator("#entries tr", has_text=value)).to_contain_text(role)


def test_an_admin_manages_the_list(browser: Browser, site: ConsoleSite) -> None:
    """Sign in, add, search, change, refuse to remove oneself, import after a look, audit, sign out."""
    context = browser.new_context(base_url=site.address, viewport=DESKTOP)  # type: ignore[arg-type]
    _, complaints = watched(context)
    page = context.new_page()
    sign_in(page, password="a guess")
    expect(page.get_by_role("alert")).to_contain_text("That did not work")
    sign_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Who may come in")
    page.evaluate("window.mark = true")

    add(page, "eve@example", note="contractor")
    expect(page.locator("#value")).to_be_focused()
    expect(page.locator("#value-wrong")).to_be_visible()
    add(page, "eve@example.com", role="viewer", note="contractor")
    expect(page.get_by_role("status").first).to_have_text("Added.")
    expect(page).to_have_url(f"{site.address}/allowlist")
    assert "eve@example.com" in rows(page)

    page.get_by_label("Search").press_sequentially("contract")
    expect(page.locator("#count")).to_have_text("1 of 4 entries")
    assert (rows(page), "q=contract" in page.url) == (["eve@example.com"], True)

    page.get_by_role("link", name="eve@example.com").click()
    expect(page.locator("#panel-title")).to_have_text("Change eve@example.com")
    assert rows(page) == ["eve@example.com"], "the list beside the form stays as it was"
    page.locator("#panel").get_by_label("Note").fill("until June")
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_role("status").first).to_have_text("Changed.")
    assert page.evaluate("window.mark"), "all of it happened in one page"

    page.get_by_role("link", name="ana@example.com : change").click()
    page.get_by_text("End it").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#panel .error")).to_contain_text("leave no lasting admin")
    # Nor with another admin there: whoever takes out themself can't mend it.
    with_role(page, "eve@example.com", "admin")
    page.get_by_role("link", name="ana@example.com : change").click()
    page.get_by_text("End it").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#panel .error")).to_contain_text("your own access: ask another admin")
    assert "ana@example.com" in rows(page)
    with_role(page, "eve@example.com", "viewer")

    page.get_by_role("link", name="Import").click()
    page.get_by_label("A file").set_input_files({"name": "list.csv", "mimeType": "text/csv", "buffer": CSV.encode()})
    expect(page.get_by_label("CSV")).to_have_value(CSV)
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.locator("#diff-card")).to_contain_text("1 to add, 1 to change, 0 to remove. Nothing is done yet.")
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_role("status").first).to_have_text("Imported.")
    assert "*.contractors.example" in rows(page)

    page.get_by_role("link", name="Test an address").click()
    page.get_by_label("Address").press_sequentially("x@a.contractors.example")
    expect(page.locator("#verdict .error")).to_contain_text("Stays out: *.contractors.example is denied")

    page.goto("/allowlist/audit?value=vic@example.com")
    expect(page.locator("tbody tr").first).to_contain_text("role viewer → operator; note “promoted”")
    expect(page.locator("tbody tr").first).to_contain_text("ana@example.com")

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{site.address}/login")
    page.goto("/allowlist")
    expect(page).to_have_url(re.compile(r"/login\?next=%2Fallowlist$"))
    assert [cookie["name"] for cookie in context.cookies() if cookie["name"] == "__Host-tocsin"] == []
    context.close()
    assert unexpected(complaints) == []


def test_all_of_it_works_without_a_script(browser: Browser, site: ConsoleSite) -> None:
    """The same forms, each answered with a page."""
    context = browser.new_context(base_url=site.address, java_script_enabled=False)
    page = context.new_page()
    sign_in(page)
    add(page, "zed@example", note="kept")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#note")).to_have_value("kept")
    add(page, "zed@example.com", note="kept")
    page.get_by_label("Search").fill("zed")
    page.get_by_role("button", name="Show").click()
    assert rows(page) == ["zed@example.com"]
    page.get_by_role("link", name="zed@example.com").click()
    page.get_by_text("End it").click()
    page.get_by_role("button", name="Expire now").click()
    expect(page.locator("tr", has_text="zed@example.com")).to_contain_text("expired")
    page.goto("/allowlist/entry?value=ana%40example.com")
    page.get_by_text("End it").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("alert")).to_contain_text("leave no lasting admin")
    page.goto("/allowlist/import")
    expect(page.get_by_label("A file")).to_be_hidden()
    page.get_by_label("CSV").fill("value\nnew@example.com\n")
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.locator("#diff-card")).to_contain_text("1 to add")
    page.get_by_role("button", name="Do it").click()
    assert "new@example.com" in rows(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    assert "\nnew@example.com,allow,," in download.value.path().read_text()
    page.get_by_role("link", name="Audit").click()
    expect(page.locator("tbody tr").first).to_contain_text("new@example.com")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{site.address}/login")
    context.close()


def test_axe_finds_no_serious_problem_on_any_page(page: Page) -> None:
    """In light and in dark, on a desk and on a phone, where nothing is wider than the screen either."""
    page.goto("/incidents")
    id = str(page.locator("tbody th a").first.get_attribute("href")).rpartition("/")[2]
    found, looked = [], 0
    for path in ("/login", *PAGES):
        page.goto(path.format(id=id))
        page.evaluate(Axe().axe_script)
        for size, scheme in itertools.product((DESKTOP, PHONE), ("light", "dark")):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            where = (path, scheme, size["width"])
            if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
                found.append((*where, "wider than the screen", []))
            # What is no matter of looks was looked at the first time.
            first = (size, scheme) == (DESKTOP, "light")
            violations = page.evaluate(AXE % (EVERYTHING if first else LOOKS))
            looked += 1
            found += [(*where, rule, elements) for rule, elements in violations]
    assert (found, looked) == ([], 4 * (1 + len(PAGES)))


def test_the_keyboard_is_enough(page: Page) -> None:
    """The first key leads past the bar, the focus is always to be seen, and a change is made without a pointer."""
    page.goto("/allowlist")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Add", exact=True)).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px", page.evaluate("document.activeElement.outerHTML")
    page.get_by_label("Address, domain").focus()
    page.keyboard.type("kim@example.com")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("Added.")
    expect(page.locator("#title")).to_be_focused()


def test_incidents_refresh_themselves_and_say_when_they_can_not(page: Page, site: ConsoleSite) -> None:
    """Fifteen seconds later the new one is there; the page says when the daemon is away, and who is signed out."""
    page.clock.install()
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("open incident")
    site.fires("QueueStuck", "P1", "nothing was taken from the queue", service="mail")
    page.clock.run_for(16_000)
    expect(page.get_by_role("link", name="QueueStuck").first).to_be_visible()
    page.context.set_offline(True)
    page.clock.run_for(16_000)
    expect(page.locator("#trouble")).to_contain_text("The daemon does not answer: what you see is of")
    page.context.set_offline(False)
    page.clock.run_for(16_000)
    expect(page.locator("#trouble")).to_be_hidden()
    page.goto("/incidents?state=all")
    page.context.clear_cookies()
    page.clock.run_for(16_000)
    expect(page).to_have_url(f"{site.address}/login?next=%2Fincidents%3Fstate%3Dall")


def test_an_incident_is_taken_and_closed_where_it_stands(page: Page, site: ConsoleSite) -> None:
    """In one page, and what the one who took it is called."""
    site.fires("DiskFull", "P1", "no room on /", service="db")
    page.goto("/incidents")
    page.get_by_role("link", name="DiskFull").click()
    page.evaluate("window.mark = true")
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#facts")).to_contain_text("taken by ana@example.com")
    expect(page.get_by_role("button", name="Take it")).to_have_count(0)
    page.get_by_label("Why it is over").fill("made room")
    page.get_by_role("button", name="Close it").click()
    expect(page.locator("#facts")).to_contain_text("made room")
    assert page.evaluate("window.mark")
