"""An Alertmanager configuration made of the routes and notifiers, for a Prometheus beside Tocsin, or instead of it.

Routes become a route tree of the same shape: Tocsin's order, inheritance and `continue` are Alertmanager's. What
Alertmanager can't do is said in comments where it is lost: digests, escalation, fail-over, flap windows, who is woken.
Secrets are never written: they are `*_file` keys that name where to put them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from tocsin.durations import format_duration
from tocsin.incidents.routes import EACH, GROUP_BY, Escalation
from tocsin.model import Matcher, MatchOp

if TYPE_CHECKING:
    from pathlib import Path

    from tocsin.config import Config
    from tocsin.config.routing import RouteSettings

NAME: Final = "alertmanager.yml"
SECRETS: Final = "/etc/alertmanager/secrets"
"""Where secrets go that Tocsin reads from its environment."""
ONE_GROUP: Final = "tocsin_one_group"
"""A label that no alert has. Alertmanager takes an empty group_by for "as the route above"."""
_HEAD: Final = """\
# Made by `tocsin rules export` from {file}.
# Check it with: amtool check-config {name}
#
# Alertmanager can't: fold what flaps into one thread, escalate what nobody acknowledges, fail over to another receiver,
# send a daily digest, freeze alerts whose source can't be seen. Where a route or notifier asks for that, it says so.
"""
_SLACK_TITLE: Final = (
    "[{{ .CommonLabels.severity }}] {{ .CommonLabels.alertname }}"
    '{{ if eq .Status "resolved" }} is over{{ end }} ({{ len .Alerts }})'
)
_SLACK_TEXT: Final = "{{ range .Alerts }}{{ .Annotations.summary }} {{ .Annotations.runbook_url }}\n{{ end }}"
_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}


def alertmanager_config(config: Config) -> str:
    """The whole file, with comments."""
    receivers: dict[tuple[str, ...], str] = {}

    def receiver(names: Sequence[str]) -> str:
        return receivers.setdefault(tuple(names), "+".join(names) or "nobody")

    first = tuple(notifier.name for notifier in config.notifiers[:1])
    lines = [
        *_HEAD.format(file=config.file.name, name=NAME).splitlines(),
        "route:",
        "  # What no route takes goes to the first notifier.",
        f"  receiver: {_text(receiver(first))}",
        f"  group_by: {_list(GROUP_BY)}",
        "  group_wait: 1s  # told at once; what joins later is sent after group_interval",
        "  group_interval: 1m",
        "  repeat_interval: 120h  # not repeated, for as long as Alertmanager remembers (--data.retention)",
    ]
    if config.routes:
        lines.append("  routes:")
        for route in config.routes:
            lines += _indented(_route(route, receiver), 4)
    lines.append("receivers:")
    for names, title in receivers.items():
        lines += _indented(_receiver(config, names, title), 2)
    return "\n".join(lines) + "\n"


# Routes --------------------------------------------------------------------------------------------------------------


def _route(route: RouteSettings, receiver: Callable[[Sequence[str]], str]) -> list[str]:
    """One item of `routes`, its comments before it."""
    keys: list[str] = []
    if route.match:
        keys.append("matchers:")
        for label, expression in sorted(route.match.items()):
            keys.append(f"  - {_text(str(Matcher(name=label, op=MatchOp.REGEX, value=expression)))}")
    if route.notify is not None:
        keys.append(f"receiver: {_text(receiver(route.notify))}")
    if route.group_by is not None:
        keys.append(f"group_by: {_list((EACH,) if EACH in route.group_by else route.group_by or (ONE_GROUP,))}")
    if route.digest is not None:
        keys.append("group_interval: 24h")
    if route.repeat is not None:
        keys.append(f"repeat_interval: {format_duration(route.repeat)}")
    if route.continue_:
        keys.append("continue: true")
    if route.routes:
        keys.append("routes:")
        for nested in route.routes:
            keys += _indented(_route(nested, receiver), 2)
    item = [f"{'- ' if not number else '  '}{line}" for number, line in enumerate(keys or ["{}"])]
    return [*(f"# {line}" for line in _lost(route)), *item]


def _lost(route: RouteSettings) -> Iterator[str]:
    """What the route asks for and Alertmanager can't do."""
    if route.name:
        yield f"Route {_line(route.name)}"
    if route.digest is not None:
        yield "Not here: the daily digest of P2 and P3. They are sent as they begin, at most once a day for a group."
    for step in route.escalate or ():
        yield f"Not here: {_escalation(Escalation(after=step.after, to=step.to))}."
    if route.mentions:
        yield f"Not here: waking {_line(', '.join(route.mentions))}; write them into the receiver's text."
    if route.flap_window is not None:
        yield f"Not here: the flap window of {format_duration(route.flap_window)}; what comes back is sent anew."


def _escalation(step: Escalation) -> str:
    return f"escalation to {_line(', '.join(step.to))} when nobody has acknowledged for {format_duration(step.after)}"


# Receivers -----------------------------------------------------------------------------------------------------------


def _receiver(config: Config, names: Sequence[str], title: str) -> list[str]:
    """One item of `receivers`: a route may tell several notifiers, so it may hold several."""
    known = {notifier.name: notifier for notifier in config.notifiers}
    comments: list[str] = []
    kinds: dict[str, list[str]] = {}
    for name in names:
        notifier = known[name]
        if notifier.failover is not None:
            comments.append(f"Not here: {name} fails over to {notifier.failover}.")
        make = _KINDS.get(notifier.kind)
        if make is None:
            comments.append(f"Not here: {name}, as Alertmanager has nothing like the kind {notifier.kind}.")
            continue
        key, values, notes = make(notifier, config.folder)
        comments += notes
        kinds.setdefault(key, []).extend(
            f"{'  - ' if not number else '    '}{line}" for number, line in enumerate(values)
        )
    if not names:
        comments.append("Tells nobody.")
    lines = [f"# {_line(comment)}" for comment in comments]
    lines.append(f"- name: {_text(title)}")
    for key, items in kinds.items():
        lines += _indented([f"{key}:", *items], 2)
    return lines


Made = tuple[str, list[str], list[str]]
"""The receiver's key, the lines of one item, comments."""


def _slack(settings: Any, folder: Path) -> Made:
    file = _secret(settings.token_file, folder, settings.name)
    notes = []
    if settings.token_file is None:
        notes.append(f"Put the bot token ({settings.token_env or 'SLACK_BOT_TOKEN'}) of {settings.name} into {file}")
    notes.append("Every change is a message of its own: Alertmanager neither edits nor answers in threads.")
    base = settings.base_url.rstrip("/")
    lines = [
        f"api_url: {_text(f'{base}/chat.postMessage')}",
        "http_config:",
        "  authorization:",
        "    type: Bearer",
        f"    credentials_file: {_text(file)}",
        f"channel: {_text(settings.channel)}",
        "send_resolved: true",
        f"title: {_text(_SLACK_TITLE)}",
        f"text: {_text(_SLACK_TEXT)}",
    ]
    return "slack_configs", lines, notes


def _webhook(settings: Any, folder: Path) -> Made:
    notes = [f"{settings.name} gets Alertmanager's JSON, which is another than Tocsin's."]
    url = settings.url
    if url is None:
        url = f"https://{settings.name.lower().replace('_', '-')}.invalid/"
        notes.append(
            f"The address of {settings.name} is a secret ({settings.url_env}): put it in the place of {url}, or from "
            "Alertmanager 0.26 on use url_file"
        )
    if settings.headers or settings.headers_env:
        headers = ", ".join((*settings.headers, *settings.headers_env))
        notes.append(f"Not here: the headers {headers}; for Authorization see http_config.")
    if settings.secret is not None or settings.secret_env is not None or settings.secret_file is not None:
        notes.append(f"Not here: the signature of {settings.name}.")
    return "webhook_configs", [f"url: {_text(url)}", "send_resolved: true"], notes


def _email(settings: Any, folder: Path) -> Made:
    notes = []
    port = settings.port or _PORTS[settings.security]
    lines = [
        f"to: {_text(', '.join(settings.to))}",
        f"from: {_text(settings.sender)}",
        f"smarthost: {_text(f'{settings.host}:{port}')}",
        f"require_tls: {'true' if settings.security == 'starttls' else 'false'}",
        "send_resolved: true",
    ]
    if settings.security == "tls" and port != _PORTS["tls"]:
        notes.append(f"Alertmanager encrypts from the start on port 465 only: {settings.name} wants {port}.")
    if settings.username:
        file = _secret(settings.password_file, folder, settings.name)
        lines += [f"auth_username: {_text(settings.username)}", f"auth_password_file: {_text(file)}"]
        if settings.password_file is None:
            notes.append(f"Put the password of {settings.name} into {file}")
    return "email_configs", lines, notes


_KINDS: Final[dict[str, Callable[[Any, Path], Made]]] = {"slack": _slack, "webhook": _webhook, "email": _email}


def _secret(file: Path | None, folder: Path, name: str) -> str:
    return f"{SECRETS}/{name}" if file is None else str(folder / file)


# YAML ----------------------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    """A double-quoted YAML scalar; JSON's are."""
    return orjson.dumps(text).decode()


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(map(_text, texts)) + "]"


def _line(text: str) -> str:
    """On one line, so that nothing in it can end a comment."""
    return " ".join(text.split())


def _indented(lines: Sequence[str], by: int) -> list[str]:
    return [" " * by + line for line in lines]
