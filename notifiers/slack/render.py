"""A Notification as a Slack message. Pure: the same notification gives the same message.

Three forms, from whole to certain; the notifier goes down when Slack refuses one:
  WHOLE  every block: headline, details, links, buttons, footer
  SHORT  the headline's block alone
  TEXT   plain text made without templates; nothing in it can fail
A template is `templates/NAME.j2`. Its Jinja blocks `headline`, `details`, `links` and `footer` become Slack blocks of
that order, an empty one is left out, and `push` is the plain text that phones show. Escaping is Jinja's own, on for
every value; what a label holds can't become a mention, a link or a channel-wide call.

There is no colour bar: it needs attachments, which phones fold away and in which a mention wakes nobody. The sign in
front of the headline carries the colour.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from notifiers._facts import Facts, State, common_labels, facts_of, push_text, several_text, stamps, tells_of_several
from notifiers._words import age, clip, clock_time, one_line, safe_url
from notifiers.slack.budget import SECTION, TEXT, TOTAL, Block, Message, cut, size
from notifiers.slack.buttons import buttons_of
from tocsin.model import Action, Incident, Mention, Notification, Reason, Severity

LISTED: Final = 10
LISTED_IN_A_STORM: Final = 5
"""Incidents that a digest or a storm's message names; the rest is a number and a link. A storm is read on a phone."""
SIGNS: Final[Mapping[Severity, str]] = {Severity.P0: "🔴", Severity.P1: "🟠", Severity.P2: "🔵", Severity.P3: "🔹"}
_STATE_SIGNS: Final[Mapping[State, str]] = {State.ACKED: "🟡", State.UNKNOWN: "⚪", State.RESOLVED: "✅"}
_FOLDER: Final = Path(__file__).parent / "templates"
_ID: Final = re.compile(r"[UWS][A-Z0-9]{2,}")
_REPLIES: Final = frozenset({Action.THREAD, Action.RESOLVE})
_CALLS: Final = frozenset({Action.BROADCAST, Action.ESCALATE, Action.REMIND})


class Form(StrEnum):
    """How much of the message is tried."""

    WHOLE = "whole"
    SHORT = "short"
    TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class Style:
    """What the settings say about the look."""

    zone: ZoneInfo
    console_url: str = ""
    interactive: bool = False
    mentions: tuple[tuple[str, str], ...] = ()
    """Names used in routes → Slack IDs."""
    templates: Path | None = None


def render(notification: Notification, style: Style, form: Form, *, threaded: bool, old: str = "") -> Message:
    """The message for `notification`; `threaded` when it is a reply, `old` links the message that it replaces.

    Raises whatever a template raises, for WHOLE and SHORT only.
    """
    if form is Form.TEXT:
        return Message(text=_plain(notification, style, old))
    template = _environment(style.templates).get_template(template_name(notification, threaded=threaded))
    view = _view(notification, style, old)
    push = _block_text(template, "push", view)
    headline = _block_text(template, "headline", view)
    blocks = [_section(headline)] if headline else []
    if form is Form.WHOLE:
        footer = _block_text(template, "footer", view)
        details, links = _block_text(template, "details", view), _block_text(template, "links", view)
        buttons = [] if threaded or not style.interactive else buttons_of(notification)
        rest = [*([_section(links)] if links else []), *buttons, *([_context(footer)] if footer else [])]
        room = TOTAL - size([*blocks, *rest]) - 500  # identifiers and types count too
        if details and room > 200:
            blocks.append(_section(cut(details, room)))
        blocks += rest
    # A block_id seen before makes Slack's clients keep what they had of that block, so each message has its own.
    named = [{**block, "block_id": f"{clip(notification.id, 200)}.{number}"} for number, block in enumerate(blocks)]
    return Message(text=cut(push, TEXT), blocks=tuple(named))


def template_name(notification: Notification, *, threaded: bool) -> str:
    """Which template tells it. A reply says what changed; anything in the channel itself says how things stand."""
    if notification.action is Action.DIGEST:
        return "digest.j2"
    if _lists(notification):
        return "storm.j2"
    if threaded and notification.action in _REPLIES:
        return "reply.j2"
    if threaded and notification.action in _CALLS:
        return "call.j2"
    return "incident.j2"


def _lists(notification: Notification) -> bool:
    """True for a message that names incidents rather than tells of one."""
    several = len(notification.incidents) > 1 or notification.reason is Reason.OVER_BUDGET
    return several or notification.action is Action.DIGEST


def mention_markup(mention: Mention, names: Mapping[str, str]) -> Markup:
    """Slack's `<@U…>` for somebody routing named; a name that no ID is known for is shown, and wakes nobody."""
    target = names.get(mention.id, mention.id) or mention.kind
    if target in {"here", "channel", "everyone"} and (mention.kind == target or mention.id in names):
        return Markup("<!{}>").format(target)
    if not _ID.fullmatch(target):
        return escape("@" + one_line(target, 60))
    return (Markup("<!subteam^{}>") if target.startswith("S") else Markup("<@{}>")).format(target)


def sign_of(facts: Facts) -> str:
    """The coloured sign of a state, or while it fires of its severity."""
    return _STATE_SIGNS.get(facts.state, SIGNS[facts.severity])


@lru_cache(maxsize=8)
def _environment(templates: Path | None) -> Environment:
    folders = [_FOLDER] if templates is None else [templates, _FOLDER]
    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, auto_reload=templates is not None
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {"bold": _bold, "line": one_line}
    environment.globals |= {"sign": sign_of, "push_text": push_text}
    return environment


def check_templates(templates: Path | None) -> str:
    """What is wrong with the templates, empty when each can be read and compiled."""
    environment = _environment(templates)
    try:
        for name in environment.list_templates(extensions=["j2"]):
            environment.get_template(name)
    except Exception as error:  # noqa: BLE001 - a template is the operator's text and may fail in any way
        return f"{type(error).__name__}: {error}"
    return ""


def _view(notification: Notification, style: Style, old: str) -> dict[str, Any]:
    """What the templates see."""
    now, several = notification.created_at, len(notification.incidents) > 1
    most = 0 if not _lists(notification) else LISTED if notification.action is Action.DIGEST else LISTED_IN_A_STORM
    listed = heapq.nsmallest(most, notification.incidents, key=_worst_first)
    alerts = [alert for incident in notification.incidents for alert in incident.members] if several else []
    facts = facts_of(notification.incident, now, zone=style.zone, console_url=style.console_url)
    names = dict(style.mentions)
    firing = sum(len(incident.firing) for incident in notification.incidents)
    started = min(incident.opened_at for incident in notification.incidents)
    return {
        "n": notification,
        "facts": facts,
        "mentions": Markup(" ").join(mention_markup(mention, names) for mention in notification.mentions),
        "because": one_line(notification.because, 200),
        "at": clock_time(now, now, style.zone),
        "stamps": stamps(notification.timeline, style.zone),
        "old": safe_url(old),
        "console": safe_url(style.console_url),
        # For messages about several incidents:
        "listed": [facts_of(incident, now, zone=style.zone, console_url=style.console_url) for incident in listed],
        "unlisted": len(notification.incidents) - len(listed),
        "total": len(notification.incidents),
        "firing": firing,
        "started": clock_time(started, now, style.zone),
        "age": age(started, now),
        "common": _cause(common_labels(alerts)),
        "several": several_text(notification),
    }


def _worst_first(incident: Incident) -> tuple[int, Any, str]:
    return incident.severity.rank, incident.opened_at, incident.id


def _cause(shared: Mapping[str, str]) -> tuple[str, ...]:
    """The labels all alerts of a storm share: what they may have in common as a cause."""
    skipped = {"severity", "alertname", "job"}
    return tuple(f"{one_line(k, 40)}={one_line(v, 60)}" for k, v in shared.items() if k not in skipped)[:3]


def _block_text(template: Template, name: str, view: Mapping[str, Any]) -> str:
    """One Jinja block as escaped mrkdwn: without empty lines, and with Slack's three entities only."""
    if name not in template.blocks:
        return ""
    text = "".join(template.blocks[name](template.new_context(dict(view))))
    # Jinja escapes quotes for HTML; Slack knows no entity for them. A literal "&#34;" is "&amp;#34;" by now.
    text = text.replace("&#34;", '"').replace("&#39;", "'")
    return cut("\n".join(line.strip() for line in text.splitlines() if line.strip()), SECTION)


def _plain(notification: Notification, style: Style, old: str) -> str:
    """The last form: mentions, the line for phones, why, and where to look."""
    names = dict(style.mentions)
    single = not tells_of_several(notification)
    facts = facts_of(notification.incident, notification.created_at, zone=style.zone, console_url=style.console_url)
    mentions = " ".join(str(mention_markup(mention, names)) for mention in notification.mentions)
    head = push_text(facts) if single else several_text(notification)
    links = [f"{link.name}: {link.url}" for link in facts.links] if single else []
    lines = [head, one_line(notification.because, 200), *links]
    lines += [f"Earlier message: {safe_url(old)}"] if safe_url(old) else []
    escaped = [line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in lines if line]
    return cut("\n".join([f"{mentions} {escaped[0]}".strip(), *escaped[1:]]), TEXT)


def _bold(text: str) -> Markup:
    """Bold; an asterisk within would end it."""
    words = str(text).replace("*", "∗").strip()
    return Markup("*{}*").format(words) if words else Markup("")


def _section(text: str) -> Block:
    # verbatim: Slack must not turn addresses, #names or @names that a label holds into links and mentions.
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}
