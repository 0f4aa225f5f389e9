"""Pages from tocsin/web/console/templates, autoescaped. No inline script or style: the policy allows none.

htmx (static/htmx.min.js) takes the place of nothing: it asks for the same pages and swaps in the part that its element
names, so there is one rendering of everything and each page works without a script. Its settings are in layout's
<meta name="htmx-config">.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tocsin.access.tokens import Scope, allows
from tocsin.durations import format_duration
from tocsin.web.gate import Operation, shown_token
from tocsin.web.people import Person, person_of

TEMPLATES: Final = Path(__file__).parent / "templates"
DONE: Final = {
    "acked": "You have it: no reminders, no escalation.",
    "resolved": "Closed. What still fires is told again when it changes.",
    "silenced": "Silenced. What it hides is told when it ends.",
    "expired": "The silence has ended; what it hid is told.",
    "added": "Added.",
    "changed": "Changed.",
    "ended": "Expired: whoever came in by it is out within two seconds.",
    "removed": "Removed: whoever came in by it is out within two seconds.",
    "imported": "Imported.",
}
"""What `?done=` may say after a change; a text in the address itself could be anybody's."""


def page(request: Request, template: str, now: datetime, *, status: int = 200, **context: Any) -> HTMLResponse:
    """One page. `error`: what went wrong, for people; `error_at`: the id of the field that it is about."""
    person = person_of(request)

    def ago(at: datetime | None) -> str:
        if at is None:
            return "never"
        seconds = (now - at).total_seconds()
        span = format_duration(float(_coarse(abs(seconds)))) if abs(seconds) >= 1 else "0s"
        return f"in {span}" if seconds < 0 else f"{span} ago"

    known: dict[str, Any] = {
        "error": "",
        "error_at": "",
        "done": DONE.get(request.query_params.get("done", ""), ""),
        "path": request.url.path,
        "person": person,
        "csrf": person.csrf if person is not None else "",
        "can": lambda scope: _may(request, person, Scope(scope)),
        "ago": ago,
        "now": now,
    }
    text = _environment().get_template(f"{template}.html.j2").render({**known, **context})
    headers = {}
    if status >= 400:
        # A form's own address shows nothing when it is loaded again: htmx keeps the page's.
        headers["HX-Push-Url"] = "false"
    elif "done" in request.query_params:
        # Nor is anything done when this is loaded again.
        headers["HX-Push-Url"] = request.url.path
    return HTMLResponse(text, status, headers)


def part(response: Response, id: str) -> Response:
    """To htmx: only the part of that id changes, whatever the form that was sent stands for."""
    response.headers["HX-Retarget"] = response.headers["HX-Reselect"] = f"#{id}"
    response.headers["HX-Reswap"] = "outerHTML"
    return response


def sent_on(path: str, done: str) -> Response:
    """After a change: the browser is sent to a page that says what was done."""
    assert done in DONE
    return RedirectResponse(f"{path}{'&' if '?' in path else '?'}done={done}", HTTPStatus.SEE_OTHER)


def told(summary: str, *fields: str, media: str = "text/html") -> Operation:
    """What /openapi.json says of a page."""
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in fields]
    return Operation(summary=summary, tag="Console", media=media, parameters=parameters)


def _may(request: Request, person: Person | None, scope: Scope) -> bool:
    return allows(person.as_token() if person is not None else shown_token(request), scope)


def _coarse(seconds: float) -> int:
    """Seconds in a minute, minutes in a day, then days: nobody reads `2d3h17m5s`."""
    for unit in (86_400, 3_600, 60):
        if seconds >= unit:
            return int(seconds // unit) * unit
    return int(seconds)


def _utc(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _machine(at: datetime | None) -> str:
    return "" if at is None else at.isoformat().replace("+00:00", "Z")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"utc": _utc, "machine": _machine}
    return environment
