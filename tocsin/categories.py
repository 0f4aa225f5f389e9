"""Whose matter an error is: one of seven categories, by the name of the exception's type, else by the status.

    client       the request was cut off or is wrong in form        4xx but those below
    auth         who asks is not proven or may not                  401, 403; PermissionDenied
    validation   what is asked does not hold                        400, 422; RequestValidationError
    dependency   another service failed                             502, 503; aiohttp, httpx, redis, ConnectionError
    database     the database failed, or was too busy               tocsin.asgi.database, psycopg, django.db, …
    timeout      something took too long                            504; TimeoutError
    bug          everything else: ours to mend

Two judge by this: the layers of `tocsin.asgi`, which have the exception itself, and the sentry collector, which has its
name only. A name is `module.Class`, or `module.*` for all of a package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

CLIENT, AUTH, VALIDATION = "client", "auth", "validation"
DEPENDENCY, DATABASE, TIMEOUT, BUG = "dependency", "database", "timeout", "bug"
ALL: Final = (CLIENT, AUTH, VALIDATION, DEPENDENCY, DATABASE, TIMEOUT, BUG)

PYTHON: Final[Mapping[str, str]] = {
    "starlette.authentication.AuthenticationError": AUTH,
    "django.core.exceptions.PermissionDenied": AUTH,
    "rest_framework.exceptions.PermissionDenied": AUTH,
    "rest_framework.exceptions.NotAuthenticated": AUTH,
    "rest_framework.exceptions.AuthenticationFailed": AUTH,
    "jwt.*": AUTH,
    "authlib.*": AUTH,
    "supabase_auth.*": AUTH,
    "gotrue.*": AUTH,
    "fastapi.exceptions.RequestValidationError": VALIDATION,
    "fastapi.exceptions.WebSocketRequestValidationError": VALIDATION,
    "litestar.exceptions.http_exceptions.ValidationException": VALIDATION,
    "django.core.exceptions.ValidationError": VALIDATION,
    "rest_framework.exceptions.ValidationError": VALIDATION,
    "django.core.exceptions.BadRequest": CLIENT,
    "django.core.exceptions.SuspiciousOperation": CLIENT,
    "sqlite3.Error": DATABASE,
    "tocsin.asgi.database.*": DATABASE,
    "psycopg.*": DATABASE,
    "psycopg2.*": DATABASE,
    "psycopg_pool.*": DATABASE,
    "asyncpg.*": DATABASE,
    "sqlalchemy.*": DATABASE,
    "django.db.*": DATABASE,
    "pymongo.*": DATABASE,
    "pymysql.*": DATABASE,
    "MySQLdb.*": DATABASE,
    "postgrest.*": DATABASE,
    "builtins.TimeoutError": TIMEOUT,
    "httpx.TimeoutException": TIMEOUT,
    "requests.exceptions.Timeout": TIMEOUT,
    "asyncio.exceptions.TimeoutError": TIMEOUT,
    "concurrent.futures._base.TimeoutError": TIMEOUT,
    "celery.exceptions.SoftTimeLimitExceeded": TIMEOUT,
    "celery.exceptions.TimeLimitExceeded": TIMEOUT,
    "billiard.exceptions.SoftTimeLimitExceeded": TIMEOUT,
    "billiard.exceptions.TimeLimitExceeded": TIMEOUT,
    "supabase_auth.errors.AuthRetryableError": DEPENDENCY,
    "aiohttp.*": DEPENDENCY,
    "httpx.*": DEPENDENCY,
    "requests.*": DEPENDENCY,
    "urllib3.*": DEPENDENCY,
    "stripe.*": DEPENDENCY,
    "openai.*": DEPENDENCY,
    "anthropic.*": DEPENDENCY,
    "elasticsearch.*": DEPENDENCY,
    "kombu.*": DEPENDENCY,
    "pika.*": DEPENDENCY,
    "storage3.*": DEPENDENCY,
    "redis.*": DEPENDENCY,
    "grpc.*": DEPENDENCY,
    "botocore.*": DEPENDENCY,
    "slack_sdk.*": DEPENDENCY,
    "urllib.error.*": DEPENDENCY,
    "smtplib.*": DEPENDENCY,
    "ssl.SSLError": DEPENDENCY,
    "socket.gaierror": DEPENDENCY,
    "builtins.ConnectionError": DEPENDENCY,
}
"""By the names of classes; a class is its bases, too, where they can be asked."""
_BY_STATUS: Final = {
    401: AUTH,
    403: AUTH,
    400: VALIDATION,
    422: VALIDATION,
    502: DEPENDENCY,
    503: DEPENDENCY,
    504: TIMEOUT,
}


class Names:
    """A mapping of names to categories, with what its user adds."""

    def __init__(self, more: Mapping[str, str] | None = None, known: Mapping[str, str] = PYTHON) -> None:
        """`more` goes before `known`. Raises ValueError for a category that no label should be or nearly ours."""
        for category in (more or {}).values():
            if not category.isidentifier() or len(category) > 32:
                raise ValueError(f"{category!r}: a category is a short name like 'dependency'")
            near = get_close_matches(category, ALL, n=1, cutoff=0.8)
            if near and category not in ALL:
                raise ValueError(
                    f"{category!r}: did you mean {near[0]!r}? Take another name for a category of your own"
                )
        self._more = dict(more or {})
        self._known = known
        self.categories: Final = frozenset(ALL) | frozenset(self._more.values())
        """All that can be found."""

    def of(self, names: Iterable[str]) -> str | None:
        """The category of a type that is called so, its own name before those of its bases; None: not known.

        A name is more than a package: httpx.ReadTimeout is a TimeoutException (timeout) before it is of httpx.
        """
        names = tuple(names)
        found = (self._more.get(name) or _package(self._more, name) for name in names) if self._more else iter(())
        return (
            next(filter(None, found), None)
            or next(filter(None, map(self._known.get, names)), None)
            or next(filter(None, (_package(self._known, name) for name in names)), None)
        )


def _package(names: Mapping[str, str], name: str) -> str | None:
    module = name.rpartition(".")[0]
    while module:
        if (found := names.get(f"{module}.*")) is not None:
            return found
        module = module.rpartition(".")[0]
    return None


def of_status(status: int) -> str:
    """What a status alone tells."""
    return _BY_STATUS.get(status) or (CLIENT if 400 <= status < 500 else BUG)
