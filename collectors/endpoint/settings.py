"""The endpoint collector's keys in config.yaml."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit, urlunsplit

import re2
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from yarl import URL

from tocsin.model import Seconds
from tocsin.ports import CollectorSettings, Duration

_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
# The runtime cancels a poll at its time limit; probes end a little before, so that what they found is still told.
_WITHIN_POLL: Final = 0.95


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """RE2, because the body is the peer's: no pattern takes more than linear time on it. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


Status = Annotated[int, Field(ge=100, le=599)]


class Expect(BaseModel):
    """What an answer must be. Each expectation that fails is a `reason`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Annotated[tuple[Status, ...], BeforeValidator(_as_tuple)] = Field(
        default=(), description="a status, or a list of them; default: any 2xx"
    )
    body_contains: str | None = Field(default=None, min_length=1, description="text that the body holds")
    body_matches: str | None = Field(default=None, min_length=1, description="RE2 regular expression found in the body")
    max_seconds: Duration | None = Field(default=None, gt=0, description="slower than this is a failure")

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.body_matches is not None:
            try:
                compiled(self.body_matches)
            except re2.error as error:
                what = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
                raise ValueError(f"body_matches {self.body_matches!r} is no RE2 regular expression: {what}") from None
        return self

    @property
    def reads_body(self) -> bool:
        return self.body_contains is not None or self.body_matches is not None


class Tls(BaseModel):
    """How the peer's certificate is checked, and the one we show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verify: bool = Field(default=True, description="false: any certificate will do (its expiry is still told)")
    ca_file: str | None = Field(
        default=None, description="PEM file of the authorities to trust instead of the system's"
    )
    cert_file: str | None = Field(default=None, description="PEM file of our certificate, with its chain")
    key_file: str | None = Field(default=None, description="PEM file of its key; default: in cert_file")


class Target(BaseModel):
    """One URL and what is expected of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="http://, https://; tcp://HOST:PORT and tls://HOST:PORT for a connection alone")
    name: str = Field(
        default="", max_length=200, description="the `instance` label; default: the URL without its query"
    )
    service: str = Field(default="", max_length=200, description="the `service` label")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    headers_env: dict[str, str] = Field(
        default_factory=dict, description="header → environment variable that holds its value"
    )
    bearer_token_env: str | None = Field(default=None, description="environment variable that holds a bearer token")
    bearer_token_file: str | None = Field(default=None, description="file that holds one; read anew at every probe")
    body: str | None = Field(default=None, description="sent as it is; set a content-type header with it")
    expect: Expect = Expect()
    deadline: Duration | None = Field(
        default=None, gt=0, description="default: as long as the collector's poll may take"
    )
    slo: float | None = Field(
        default=None,
        ge=50,
        lt=100,
        description="objective in percent, e.g. 99.9: alerts when its error budget burns, in two windows each",
    )
    follow_redirects: bool = True
    max_redirects: int = Field(default=10, ge=1, le=50)
    tls: Tls = Tls()

    @model_validator(mode="after")
    def _checked(self) -> Self:
        try:
            parts = urlsplit(self.url)
            URL(self.url)
        except ValueError as error:
            raise ValueError(f"url {self.url!r}: {error}") from None
        if parts.scheme not in ("http", "https", "tcp", "tls") or not parts.hostname:
            raise ValueError(f"url {self.url!r} is not an http://, https://, tcp:// or tls:// address")
        if not self.is_http:
            self._check_wire()
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "url holds a user or password, which would be shown in every message; "
                "use headers_env: {Authorization: VARIABLE}"
            )
        for header in self.headers:
            if header.lower() in _SECRET_HEADERS:
                raise ValueError(f"header {header} holds a secret; write headers_env: {{{header}: VARIABLE}} instead")
        if self.bearer_token_env and self.bearer_token_file:
            raise ValueError("bearer_token_env and bearer_token_file are both set; keep one")
        limit = self.expect.max_seconds
        if limit is not None and self.deadline is not None and limit >= self.deadline:
            raise ValueError(f"expect.max_seconds ({limit:g}s) is not below the deadline ({self.deadline:g}s)")
        return self

    def _check_wire(self) -> None:
        parts = urlsplit(self.url)
        if parts.port is None or parts.path.strip("/") or parts.query:
            raise ValueError(f"url {self.url!r}: write {parts.scheme}://HOST:PORT and no more")
        of_http = {"method", "headers", "headers_env", "bearer_token_env", "bearer_token_file", "body"}
        given = sorted(of_http & self.model_fields_set) + ["expect.status"] * bool(self.expect.status)
        if given:
            raise ValueError(f"url {self.url!r} speaks no HTTP: remove {', '.join(given)}")

    @property
    def is_http(self) -> bool:
        """False where the connection is all that is asked for."""
        return self.url.startswith(("http://", "https://"))

    @property
    def instance(self) -> str:
        """The `instance` label. A query may hold a token, and labels are shown in messages: it is left out."""
        if self.name:
            return self.name
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


class EndpointSettings(CollectorSettings):
    """`kind: endpoint`."""

    targets: tuple[Target, ...] = Field(min_length=1)
    concurrency: int = Field(default=100, ge=1, le=10_000, description="probes under way at once, at most")
    body_limit: int = Field(default=1 << 20, ge=1, le=64 << 20, description="bytes of a body that are looked at")
    buckets: tuple[float, ...] = Field(
        default=_DEFAULT_BUCKETS, min_length=1, description="of the histogram, in seconds"
    )
    blackbox_names: bool = Field(default=True, description="also yield blackbox_exporter's probe_* series")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: set[str] = set()
        for target in self.targets:
            if target.instance in seen:
                raise ValueError(f"two targets are called {target.instance!r}; give one of them another `name`")
            seen.add(target.instance)
            if target.deadline is not None and target.deadline > self.time_limit:
                raise ValueError(
                    f"target {target.instance!r}: its deadline ({target.deadline:g}s) is past the collector's "
                    f"({self.time_limit:g}s); raise the collector's `deadline` or `interval`"
                )
            limit = target.expect.max_seconds
            if limit is not None and limit >= self.deadline_of(target):
                raise ValueError(
                    f"target {target.instance!r}: expect.max_seconds ({limit:g}s) is not below its deadline "
                    f"({self.deadline_of(target):g}s); raise the collector's `deadline` or `interval`"
                )
        if any(not low < high for low, high in pairwise(self.buckets)) or self.buckets[0] <= 0:
            raise ValueError("buckets must be positive and rise")
        return self

    @property
    def budget(self) -> Seconds:
        """How long a poll's probes may take together."""
        return self.time_limit * _WITHIN_POLL

    def deadline_of(self, target: Target) -> Seconds:
        """When a probe of `target` is given up, counted from its begin."""
        return min(target.deadline or self.time_limit, self.budget * _WITHIN_POLL)
