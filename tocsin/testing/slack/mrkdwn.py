"""Slack's mrkdwn as HTML, for the stand-in's page. Everything that is not a form known here is shown as text.

Slack's own markup is `<...>`; a literal `&`, `<` or `>` arrives as an entity. So the text is split at the markup
first, and each plain piece is unescaped once and escaped for HTML once.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from markupsafe import Markup, escape

EMOJI: Final = {
    "red_circle": "🔴",
    "large_orange_circle": "🟠",
    "large_yellow_circle": "🟡",
    "large_blue_circle": "🔵",
    "white_circle": "⚪",
    "white_check_mark": "✅",
    "rotating_light": "🚨",
    "bell": "🔔",
    "no_bell": "🔕",
    "eyes": "👀",
    "warning": "⚠️",
    "fire": "🔥",
    "thumbsup": "👍",
    "thumbsdown": "👎",
}
_TOKEN: Final = re.compile(r"```(?P<block>.+?)```|`(?P<code>[^`\n]+)`|<(?P<markup>[^<>\n]+)>", re.DOTALL)
_STYLES: Final = (
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])"), Markup("<b>{}</b>")),
    (re.compile(r"(?<![\w_])_(?=\S)([^_\n]+?)(?<=\S)_(?![\w_])"), Markup("<i>{}</i>")),
    (re.compile(r"(?<![\w~])~(?=\S)([^~\n]+?)(?<=\S)~(?![\w~])"), Markup("<s>{}</s>")),
)
_MARK: Final = "\ufffc"
"""Stands for a piece that is HTML already while the text around it is styled."""


def to_html(text: str) -> Markup:
    """The HTML of a mrkdwn text."""
    pieces: list[Markup] = []

    def keep(match: re.Match[str]) -> str:
        if match["block"] is not None:
            pieces.append(Markup("<pre>{}</pre>").format(_plain(match["block"].strip("\n"))))
        elif match["code"] is not None:
            pieces.append(Markup("<code>{}</code>").format(_plain(match["code"])))
        else:
            pieces.append(_markup(match["markup"]))
        return _MARK

    rest = _TOKEN.sub(keep, text.replace(_MARK, ""))
    html = str(escape(_plain(rest)))
    for pattern, wrap in _STYLES:
        html = pattern.sub(lambda match, wrap=wrap: str(wrap).format(match[1]), html)  # type: ignore[misc]
    html = re.sub(r":([a-z0-9_+-]+):", lambda match: EMOJI.get(match[1], match[0]), html)
    html = _quotes(html)
    for piece in pieces:
        html = html.replace(_MARK, str(piece), 1)
    return Markup(html)


def plain_html(text: str) -> Markup:
    """The HTML of a plain_text object: no markup, but emoji."""
    return Markup(re.sub(r":([a-z0-9_+-]+):", lambda match: EMOJI.get(match[1], match[0]), str(escape(_plain(text)))))


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _quotes(html: str) -> str:
    """Lines that begin with `>` become quotations; other line ends become breaks."""
    lines = [
        f"<blockquote>{line[4:].lstrip()}</blockquote>" if line.startswith("&gt;") else line
        for line in html.split("\n")
    ]
    return "<br>".join(lines).replace("</blockquote><br>", "</blockquote>")


def _markup(body: str) -> Markup:
    """A link, a mention or a date in angle brackets."""
    target, _, label = body.partition("|")
    shown = _plain(label)
    if target.startswith("!date^"):
        return Markup("{}").format(shown or target)
    if target.startswith("!subteam^"):
        return Markup('<span class="mention">{}</span>').format(shown or "@" + target.removeprefix("!subteam^"))
    if target.startswith(("!", "@")):
        return Markup('<span class="mention">@{}</span>').format(shown.removeprefix("@") or target[1:])
    if target.startswith("#"):
        return Markup('<span class="mention">#{}</span>').format(shown or target[1:])
    url = _plain(target)
    if urlsplit(url).scheme not in {"http", "https", "mailto"}:
        return Markup("{}").format(f"<{_plain(body)}>")
    link = Markup('<a href="{}" rel="noreferrer noopener" target="_blank">{}</a>')
    return link.format(url, shown or url)
