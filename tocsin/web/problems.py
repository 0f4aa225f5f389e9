"""What is answered to who may not, or asks for what isn't there: RFC 9457 problems, and pages for people's browsers.

A problem says how to get in and nothing about what is inside. A person who looks at one with a browser is shown the
same words as a page.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode, urlsplit

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from tocsin.access.verdicts import NotAllowed, Reason, Refusal, Unavailable
from tocsin.web import browser
from tocsin.web.login.pages import page

_PROBLEM: Final = "application/problem+json"
_BEARER: Final = 'Bearer realm="tocsin"'

log = structlog.get_logger(__name__)


def problem(status: int, title: str, detail: str, **headers: str) -> JSONResponse:
    """An RFC 9457 answer."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type=_PROBLEM, headers=headers)


def unproven(detail: str) -> JSONResponse:
    """401, with both ways a client may prove itself."""
    answer = problem(401, "Unauthorized", detail)
    answer.headers["WWW-Authenticate"] = _BEARER
    answer.headers.append("WWW-Authenticate", 'Basic realm="tocsin", charset="UTF-8"')
    return answer


def shown_to(request: Request, answer: Response) -> Response:
    """The answer as it is; a problem as a page where a person's browser asked for one."""
    if answer.media_type != _PROBLEM or not browser.is_persons(request):
        return answer
    said = orjson.loads(bytes(answer.body))
    shown = page("problem", answer.status_code, heading=said["title"], detail=said["detail"])
    shown.raw_headers.extend(
        (name, value) for name, value in answer.raw_headers if name not in (b"content-type", b"content-length")
    )
    return shown


def way_in(request: Request) -> Response:
    """Nobody yet: a browser is shown the login, a program the problem, and htmx is told to show the login."""
    if browser.is_navigation(request):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(_login(target), 303)
    answer = unproven("Send one Authorization header with a service token (tocsin token create --scope …).")
    if "hx-request" in request.headers:
        page = urlsplit(request.headers.get("hx-current-url", ""))
        # A browser would ask for a user and a password of its own, and the script wait for them, were Basic offered.
        del answer.headers["WWW-Authenticate"]
        answer.headers["WWW-Authenticate"] = _BEARER
        answer.headers["HX-Redirect"] = _login(page.path + (f"?{page.query}" if page.query else ""))
    return answer


def _login(target: str) -> str:
    where = browser.safe_next(target)
    return "/login" + ("" if where == "/" else f"?{urlencode({'next': where})}")


def refused_by(refusal: Refusal) -> Response:
    """One text per status: why somebody was refused is for the log."""
    log.info("access.refused", status=refusal.status, reason=refusal.reason.value, because=refusal.because)
    if isinstance(refusal, Unavailable):
        after = str(max(1, round(refusal.retry_after)))
        return problem(503, "Service Unavailable", "Access can't be checked now; try again.", **{"Retry-After": after})
    if isinstance(refusal, NotAllowed):
        no_role = refusal.reason is Reason.ROLE_TOO_LOW
        return problem(403, "Forbidden", "Your account has no role here." if no_role else "You are not allowed in.")
    return unproven("This token is not valid here. Sign in again.")


async def store_is_down(request: Request, error: Exception) -> Response:
    """For StateError."""
    return shown_to(request, problem(503, "Service Unavailable", str(error), **{"Retry-After": "5"}))


async def not_there(request: Request, error: Exception) -> Response:
    """For 404."""
    if isinstance(error, HTTPException) and error.detail != "Not Found":
        return shown_to(request, problem(404, "Not Found", error.detail))
    return shown_to(
        request,
        problem(404, "Not Found", f"There is nothing at {request.url.path}; /openapi.json lists what there is."),
    )


async def refused(request: Request, error: Exception) -> Response:
    """For any other HTTPException."""
    assert isinstance(error, HTTPException)
    return shown_to(request, problem(error.status_code, HTTPStatus(error.status_code).phrase, error.detail))


async def not_so(request: Request, error: Exception) -> Response:
    """For 405."""
    headers = dict(getattr(error, "headers", None) or {})
    return shown_to(
        request, problem(405, "Method Not Allowed", f"{request.method} is not for {request.url.path}.", **headers)
    )
