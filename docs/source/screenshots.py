"""docs/images/console-*.png: the console with demo data, taken in Chromium.

    python -m docs.source.screenshots

Starts a daemon and the stand-in Supabase Auth of its own, fills them, and looks at them in light and dark, on a desk
and on a phone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

from tocsin.testing.console import PASSWORD, ConsoleSite, chrome, console_site

IMAGES: Final = Path(__file__).parents[1] / "images"
SIZES: Final = {"desktop": (1280, 860, 1.0), "phone": (390, 844, 2.0)}
PAGES: Final = {
    "allowlist": ("/allowlist", {"desktop", "phone"}),
    "incident": ("/incidents/{id}", {"desktop"}),
    "incidents": ("/incidents", {"desktop", "phone"}),
}
"""Name → (path, on what)."""
ALERTS: Final = (
    ("PostgresDown", "P0", "The database of shop is down", {"service": "shop", "instance": "db-1"}),
    ("EndpointSlow", "P1", "p99 of /checkout is 2.4 s", {"service": "shop", "instance": "api-2"}),
    ("SignInBurst", "P1", "41 failed sign-ins from one address in a minute", {"service": "auth"}),
    ("ReplicationLag", "P2", "The replica is 38 s behind", {"service": "shop", "instance": "db-2"}),
    ("CertificateEnds", "P3", "The certificate of api.example.com ends in 13 days", {"service": "edge"}),
)
CSV: Final = """value,effect,role,expires_at,note
example.com,allow,,,everybody of the company
*.contractors.example,allow,,2027-01-31T18:00:00Z,agency until the launch
kim@contractors.example,deny,,,left in March
mia@example.com,allow,admin,,second admin
ben@example.com,allow,operator,,on call
ops-bot@example.com,allow,viewer,2026-01-01T00:00:00Z,dashboard in the hall
"""


def main() -> int:
    """Take them all; prints each file's name."""
    with tempfile.TemporaryDirectory() as folder, console_site(Path(folder)) as site, sync_playwright() as playwright:
        browser = chrome(playwright)
        try:
            state = _filled(browser, site)
            for size, (width, height, scale) in SIZES.items():
                for scheme in ("light", "dark"):
                    context = browser.new_context(
                        base_url=site.address, storage_state=state, viewport={"width": width, "height": height},
                        device_scale_factor=scale, color_scheme=scheme,
                    )  # fmt: skip
                    _take(context.new_page(), size, scheme)
                    context.close()
        finally:
            browser.close()
    return 0


def _filled(browser: Browser, site: ConsoleSite) -> object:
    """Alerts, a list, and the cookies of who put it there."""
    for alert, severity, summary, labels in ALERTS:
        site.fires(alert, severity, summary, **labels)
    context = browser.new_context(base_url=site.address)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("E-mail", exact=True).fill("ana@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.goto("/allowlist/import")
    page.get_by_label("CSV").fill(CSV)
    page.get_by_role("button", name="Show what it would do").click()
    page.get_by_role("button", name="Do it").click()
    page.get_by_text("Imported.").wait_for()
    page.goto("/incidents")
    page.get_by_role("link", name="PostgresDown").click()
    page.get_by_role("button", name="Take it").click()
    page.get_by_text("You have it").wait_for()
    state = context.storage_state()
    context.close()
    return state


def _take(page: Page, size: str, scheme: str) -> None:
    page.goto("/incidents")
    id = str(page.get_by_role("link", name="PostgresDown").get_attribute("href")).rpartition("/")[2]
    for name, (path, sizes) in PAGES.items():
        if size in sizes:
            page.goto(path.format(id=id))
            file = IMAGES / f"console-{name}-{size}-{scheme}.png"
            page.screenshot(path=file, animations="disabled")
            sys.stdout.write(f"{file.name}\n")


if __name__ == "__main__":
    sys.exit(main())
