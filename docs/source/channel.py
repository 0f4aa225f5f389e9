"""docs/images/channel-*.png and message-phone.png: the demo's channel in Chromium, as a P0 comes in.

    python -m docs.source.channel

Sets the demo's stage, lets two faults come and go, kills its Postgres, and looks once that was told. The signs of the
severities need an installed font, Debian's fonts-noto-color-emoji.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from tocsin.testing.console import chrome
from tocsin.testing.demo.faults import FAULTS
from tocsin.testing.demo.outcome import perform
from tocsin.testing.demo.stage import set_stage

IMAGES: Final = Path(__file__).parents[1] / "images"
PICTURES: Final = (
    ("channel-light.png", (1100, 800, 1.0), "light"),
    ("channel-dark.png", (1100, 800, 1.0), "dark"),
    ("message-phone.png", (390, 844, 1.0), "light"),
)
"""File, (width, height, scale), colour scheme."""
FONTS: Final = Path("/usr/share/fonts")
BEFORE: Final = ("slow-endpoint", "failing-endpoint")


async def main() -> int:
    """Take them all; prints each file's name."""
    if not any(FONTS.rglob("*Emoji*")):
        sys.stderr.write(f"no font in {FONTS} has 🔴 and ✅: apt-get install fonts-noto-color-emoji\n")
        return 1
    async with set_stage() as stage:
        for name in BEFORE:
            outcome = await perform(FAULTS[name], stage)
            if not outcome.ok:
                sys.stderr.write(f"{name}: {outcome.verdict}\n")
                return 1
        before = len(stage.slack.posted())
        fault = FAULTS["postgres-killed"]
        await fault.inject(stage)
        told = await stage.until(lambda: len(stage.slack.posted()) > before, 30)
        await asyncio.to_thread(_take, stage.slack.address)
        await fault.mend(stage)
    return 0 if told else 1


def _take(address: str) -> None:
    with sync_playwright() as playwright:
        browser = chrome(playwright)
        for name, (width, height, scale), scheme in PICTURES:
            context = browser.new_context(
                viewport={"width": width, "height": height}, device_scale_factor=scale,
                color_scheme="dark" if scheme == "dark" else "light",
            )  # fmt: skip
            page = context.new_page()
            page.goto(address)
            page.get_by_text("The database of campaigns is down").first.wait_for()
            page.wait_for_timeout(500)
            page.screenshot(path=IMAGES / name, animations="disabled")
            context.close()
            sys.stdout.write(f"{name}\n")
        browser.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
