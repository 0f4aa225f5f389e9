"""What `protect` is told, by arguments or by TOCSIN_APP_… of the environment. An argument wins.

| variable | what |
|---|---|
| TOCSIN_APP_SUPABASE_URL | https://REF.supabase.co: access on. `off` says that access is somebody else's matter |
| TOCSIN_APP_ALLOWLIST | a CSV file, or the daemon's state store (sqlite:///…, postgresql://…) |
| TOCSIN_APP_JWT_SECRET | the legacy secret of a project that signs with HS256 |
| TOCSIN_APP_API_KEY | ask Supabase whether sessions still live |
| TOCSIN_APP_PUBLIC | public routes: /healthz,/static/*,POST /hooks/in |
| TOCSIN_APP_CORS_ORIGINS | https://app.example,… |
| TOCSIN_APP_PASS_PREFLIGHTS | yes: the application's own CORS middleware answers preflights |
| TOCSIN_APP_USER_KEY | makes the hashes of users; 16 characters or more, the same in every process |
| TOCSIN_APP_METRICS_TOKEN | serve /metrics to who shows it |
| TOCSIN_APP_LOG_FOLDER | request log to files there; standard error otherwise |
| TOCSIN_APP_LOG_SHARE | share of ordinary requests that is written, 0 to 1 |
| TOCSIN_APP_LOG_KEEP_DAYS, TOCSIN_APP_LOG_KEEP_BYTES | how long, and how much, log files are kept |
| TOCSIN_APP_IN_APP | packages of the application that are installed in site-packages: campaigns,shop.orders |
| TOCSIN_APP_SLOW_SECONDS | what is slow, and always written |
| TOCSIN_APP_SERVICE | the application's name in traces and at Sentry |
| TOCSIN_APP_OTLP_ENDPOINT | http://collector:4318: traces on |
| TOCSIN_APP_OTLP_HEADERS | authorization=Bearer …,x-tenant=… |
| TOCSIN_APP_OTLP_LOGS | yes: the layers' log lines go there too |
| TOCSIN_APP_OTLP_METRICS | yes: the series of /metrics go there too, each minute |
| TOCSIN_APP_TRACE_SHARE | share of traces that no caller decided on, 0 to 1 |
| TOCSIN_APP_SENTRY_DSN | https://KEY@HOST/PROJECT: errors go there too; SENTRY_DSN otherwise |
| TOCSIN_APP_BODY_LIMIT | bytes |
| TOCSIN_APP_TIME_LIMIT | seconds until an answer begins |
| TOCSIN_APP_CONCURRENCY, TOCSIN_APP_WAITING | requests served at once, and waiting |
| TOCSIN_APP_SOCKETS | WebSockets open at once |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from tocsin.asgi.errors.fingerprint import InApp
from tocsin.errors import Finding, InputError
from tocsin.model import Seconds

if TYPE_CHECKING:
    from tocsin.access.guard import Public

PREFIX: Final = "TOCSIN_APP_"
NO_ACCESS: Final = "off"
LEAST_TOKEN: Final = 16
"""Characters of the token for /metrics."""
_OTHERS: Final = (
    "gate", "public", "needs", "user", "observers", "categories", "cache", "database", "inside", "layers", "registry",
    "lines", "settings", "environment",
)  # fmt: skip
"""Arguments of `protect` that are no field of Settings."""
_KINDS: Final[Mapping[str, tuple[Any, str]]] = {
    "str": (str, "a text"),
    "bool": (bool, "True or False"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "Seconds": ((int, float), "a number of seconds"),
    "tuple[str, ...]": ((list, tuple), "a list of texts"),
}
"""By a field's type, what may be given for it."""
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an application is protected."""

    supabase_url: str = ""
    allowlist: str = ""
    jwt_secret: str = ""
    api_key: str = ""
    public: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    pass_preflights: bool = False
    user_key: str = ""
    metrics_token: str = ""
    log_folder: str = ""
    log_share: float = 0.1
    log_keep_days: float = 14.0
    log_keep_bytes: int = 2 * 1024 * 1024 * 1024
    in_app: tuple[str, ...] = ()
    slow_seconds: Seconds = 1.0
    service: str = ""
    otlp_endpoint: str = ""
    otlp_headers: tuple[str, ...] = ()
    otlp_logs: bool = False
    otlp_metrics: bool = False
    trace_share: float = 0.1
    baggage: bool = False
    sentry_dsn: str = ""
    body_limit: int = 10 * 1024 * 1024
    time_limit: Seconds = 30.0
    concurrency: int = 100
    waiting: int = 200
    sockets: int = 1000

    def __repr__(self) -> str:
        """Without values: some are secrets."""
        return "Settings(…)"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **arguments: Any) -> Settings:
        """Raises InputError that names each variable that is wrong, and how to write it."""
        known = {f"{PREFIX}{field.name.upper()}": field for field in fields(cls)}
        given = {name: value for name, value in arguments.items() if value is not None}
        found: dict[str, Any] = {}
        wrong: list[Finding] = []
        for name in sorted(name for name in environment if name.startswith(PREFIX)):
            if name not in known:
                near = get_close_matches(name, known, n=1)
                mend = f"did you mean {near[0]}?" if near else "remove it"
                wrong.append(_finding(f"{name} is not known", mend))
                continue
            if known[name].name in given:
                continue
            read = _READERS.get(str(known[name].type), str)
            try:
                found[known[name].name] = read(environment[name])
            except ValueError as error:
                wrong.append(_finding(f"{name}: {error}", "docs/application.md shows each"))
        if wrong:
            raise InputError(*wrong)
        return cls(**found, **given)

    def __post_init__(self) -> None:
        """Raises InputError."""
        wrong = [*_addresses(self), *public_findings(f"{PREFIX}PUBLIC", self.public)]
        wrong += [
            _finding(f"{name} is above 0", f"set {PREFIX}{name.upper()}")
            for name in ("body_limit", "time_limit", "concurrency", "slow_seconds", "log_keep_days", "log_keep_bytes")
            if not getattr(self, name) > 0
        ]
        wrong += [
            _finding(f"{name} is from 0 to 1", f"set {PREFIX}{name.upper()}")
            for name in ("log_share", "trace_share")
            if not 0 <= getattr(self, name) <= 1
        ]
        if self.pass_preflights and self.cors_origins:
            mend = f"unset {PREFIX}CORS_ORIGINS or {PREFIX}PASS_PREFLIGHTS"
            wrong.append(_finding("cors_origins and pass_preflights would both answer preflights", mend))
        wrong += [
            _finding(f"{name} has nowhere to go", f"set {PREFIX}OTLP_ENDPOINT")
            for name in ("otlp_logs", "otlp_metrics")
            if getattr(self, name) and not self.otlp_endpoint
        ]
        if any("=" not in header for header in self.otlp_headers):
            wrong.append(_finding("otlp_headers are name=value,…", f"set {PREFIX}OTLP_HEADERS"))
        try:
            InApp(self.in_app)
        except ValueError as error:
            wrong.append(_finding(f"in_app: {error}", f"set {PREFIX}IN_APP"))
        wrong += [
            _finding(f"{name} is not negative", f"set {PREFIX}{name.upper()}")
            for name in ("waiting", "sockets")
            if getattr(self, name) < 0
        ]
        if self.metrics_token and len(self.metrics_token) < LEAST_TOKEN:
            what = f"metrics_token: the metrics token has fewer than {LEAST_TOKEN} characters"
            wrong.append(_finding(what, "make one: openssl rand -hex 32"))
        if self.user_key and len(self.user_key) < 16:
            wrong.append(_finding("user_key has fewer than 16 characters", "make one: openssl rand -hex 32"))
        if wrong:
            raise InputError(*wrong)


def checked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `protect` that are fields of Settings. Raises TypeError that says what is meant."""
    known = {field.name: str(field.type) for field in fields(Settings)}
    for name, value in arguments.items():
        if name not in known:
            near = get_close_matches(name, [*known, *_OTHERS], n=1)
            raise TypeError(f"protect() knows no {name}" + (f": did you mean {near[0]}?" if near else ""))
        kinds, meant = _KINDS[known[name]]
        # None: by the environment, or the default.
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
            raise TypeError(f"protect({name}=…) is {meant}, not {type(value).__name__}")
        if isinstance(value, (list, tuple)) and (other := [one for one in value if not isinstance(one, str)]):
            raise TypeError(f"protect({name}=…) is {meant}, and {other[0]!r} is none")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}


def public_findings(name: str, routes: Iterable[str | Public]) -> list[Finding]:
    """What is wrong with public routes. They are read where there are some only: it takes the guard's module."""
    from tocsin.asgi.access import public_route

    found = []
    for route in routes:
        try:
            public_route(route)
        except (ValueError, AttributeError) as error:
            what = str(error) if isinstance(error, ValueError) else f"{route!r} is no text"
            found.append(_finding(f"{name}: {what}", "write /healthz, /static/* or POST /hooks/in"))
    return found


def _addresses(settings: Settings) -> Iterator[Finding]:
    url, endpoint = settings.supabase_url, settings.otlp_endpoint
    if url and url != NO_ACCESS:
        if not _is_address(url):
            yield _finding(f"supabase_url: {url!r} is neither an address nor off", "write https://REF.supabase.co")
        elif url.rstrip("/").endswith(("/auth/v1", "/rest/v1")):
            yield _finding("supabase_url is the project's address, without a path", "write https://REF.supabase.co")
    scheme, is_url, _ = settings.allowlist.partition("://")
    if is_url and scheme.partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
        mend = f"set {PREFIX}ALLOWLIST to a CSV file, sqlite:///… or postgresql://…"
        yield _finding(f"allowlist: {scheme}:// is no store that we know", mend)
    if endpoint and not _is_address(endpoint):
        yield _finding("otlp_endpoint is no http:// or https:// address", f"set {PREFIX}OTLP_ENDPOINT")
    for origin in settings.cors_origins:
        if origin == "*":
            what = "cors_origins: every origin (*) would let any page act for a user"
            yield _finding(what, "list the origins: https://app.example")
        elif not _is_address(origin) or origin.count("/") != 2:
            what = f"cors_origins: {origin!r} is no origin"
            yield _finding(what, "write scheme and host as a browser sends them, no / at the end: https://app.example")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _finding(what: str, mend: str) -> Finding:
    return Finding(file="TOCSIN_APP", line=0, what=what, mend=mend)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _yes(text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text.lower() in ("yes", "true", "1")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "tuple[str, ...]": _list,
    "float": _number,
    "Seconds": _number,
    "int": _whole,
    "bool": _yes,
}
