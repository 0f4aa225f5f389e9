"""A target's keys in config.yaml: one URL, or a journey of several, and what is expected."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import Final, Literal, Self
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator
from yarl import URL

from collectors.endpoint.expect import Expect, Kind
from collectors.endpoint.name_server import question
from collectors.endpoint.steps import Method, Step, Variable, check_headers, check_journey
from collectors.endpoint.variables import names_in
from tocsin.ports import Duration

_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})

_KINDS: Final[dict[str, Kind]] = {"http": "http", "https": "http", "tcp": "wire", "tls": "wire", "dns": "dns"}
_WITHOUT_HTTP: Final = frozenset({"url", "name", "service", "expect", "deadline", "slo", "retries", "tls"})
"""Keys that a target without HTTP may have."""


class Tls(BaseModel):
    """How the peer's certificate is checked, and the one we show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verify: bool = Field(default=True, description="false: any certificate will do (its expiry is still told)")
    ca_file: str | None = Field(
        default=None, description="PEM file of the authorities to trust instead of the system's"
    )
    cert_file: str | None = Field(default=None, description="PEM file of our certificate, with its chain")
    key_file: str | None = Field(default=None, description="PEM file of its key; default: in cert_file")
    min_version: Literal["1.2", "1.3"] = Field(default="1.2", description="of TLS; a peer that is older fails")

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file is the key of cert_file; add that, or remove key_file")
        if self.ca_file and not self.verify:
            raise ValueError("ca_file says whom to trust, and verify: false that anybody will do; remove one")
        return self


class Target(BaseModel):
    """One URL and what is expected of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        description="http://, https://; tcp://HOST:PORT and tls://HOST:PORT for a connection alone; "
        "dns://SERVER/NAME?type=A for a name server"
    )
    name: str = Field(
        default="", max_length=200, description="the `instance` label; default: the URL without its query"
    )
    service: str = Field(default="", max_length=200, description="the `service` label")
    http: Literal[1, 2] = Field(
        default=1, description="2: over HTTP/2 or not at all; a peer that falls back fails with `http_version`"
    )
    method: Method = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    headers_env: dict[str, str] = Field(
        default_factory=dict, description="header → environment variable that holds its value"
    )
    headers_file: dict[str, str] = Field(
        default_factory=dict, description="header → file that holds its value; read anew at every probe"
    )
    bearer_token_env: str | None = Field(default=None, description="environment variable that holds a bearer token")
    bearer_token_file: str | None = Field(default=None, description="file that holds one; read anew at every probe")
    body: str | None = Field(default=None, description="sent as it is; set a content-type header with it")
    expect: Expect = Expect()
    deadline: Duration | None = Field(
        default=None, gt=0, description="default: as long as the collector's poll may take"
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=10,
        description="further tries when one fails, within the deadline; each that failed is counted",
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
    steps: tuple[Step, ...] = Field(
        default=(), max_length=50, description="a journey: requests one after the other, up when all were as expected"
    )
    cleanup: tuple[Step, ...] = Field(
        default=(),
        max_length=50,
        description="steps that are made however the journey ended, but for those whose variables it never got",
    )
    secrets_env: dict[Variable, str] = Field(
        default_factory=dict, description="variable of the steps → environment variable that holds its value"
    )
    secrets_file: dict[Variable, str] = Field(
        default_factory=dict, description="variable of the steps → file that holds its value"
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        try:
            parts = urlsplit(self.url)
            URL(self.url)
        except ValueError as error:
            raise ValueError(f"url {self.url!r}: {error}") from None
        if parts.scheme not in _KINDS or not (parts.hostname or parts.scheme == "dns"):
            raise ValueError(f"url {self.url!r} is not an http://, https://, tcp://, tls:// or dns:// address")
        if not self.is_http:
            self._check_without_http()
        elif foreign := self.expect.foreign_to("http"):
            raise ValueError(f"{', '.join(foreign)}: only a name server's answer has that; write url: dns://…")
        if self.http == 2 and parts.scheme != "https":
            raise ValueError(f"http: 2 is agreed on in the TLS handshake; url {self.url!r} is not https://")
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "url holds a user or password, which would be shown in every message; "
                "use headers_env: {Authorization: VARIABLE}"
            )
        check_headers(self.headers)
        for header in self.headers:
            if header.lower() in _SECRET_HEADERS:
                raise ValueError(f"header {header} holds a secret; write headers_env: {{{header}: VARIABLE}} instead")
        self._check_headers_once()
        self._check_journey()
        limit = self.expect.max_seconds
        if limit is not None and self.deadline is not None and limit >= self.deadline:
            raise ValueError(f"expect.max_seconds ({limit:g}s) is not below the deadline ({self.deadline:g}s)")
        return self

    def _check_headers_once(self) -> None:
        """Two of one name would both be sent."""
        bearers = [key for key in ("bearer_token_env", "bearer_token_file") if getattr(self, key)]
        if len(bearers) > 1:
            raise ValueError("bearer_token_env and bearer_token_file are both set; keep one")
        given = {key: _lower(getattr(self, key)) for key in ("headers", "headers_env", "headers_file")}
        given |= {key: {"authorization"} for key in bearers}
        for one, other in combinations(given, 2):
            if both := sorted(given[one] & given[other]):
                raise ValueError(f"header {both[0]} is in {one} and {other}; keep one")

    def _check_without_http(self) -> None:
        if self.kind == "dns":
            question(self.url)
        else:
            parts = urlsplit(self.url)
            if parts.port is None or parts.path.strip("/") or parts.query:
                raise ValueError(f"url {self.url!r}: write {parts.scheme}://HOST:PORT and no more")
        given = sorted(self.model_fields_set - _WITHOUT_HTTP) + self.expect.foreign_to(self.kind)
        if self.url.startswith(("tcp:", "dns:")) and "tls" in self.model_fields_set:
            raise ValueError(f"url {self.url!r} speaks no TLS: remove tls, or write tls://HOST:PORT")
        if given:
            raise ValueError(f"url {self.url!r} speaks no HTTP: remove {', '.join(given)}")

    def _check_journey(self) -> None:
        if not self.steps:
            if given := sorted({"cleanup", "secrets_env", "secrets_file"} & self.model_fields_set):
                raise ValueError(f"{given[0]} is for a journey; add its `steps`")
            return
        if not self.name:
            raise ValueError("a journey needs a `name`, which messages call it by")
        of_one = {"method", "body", "follow_redirects"} & self.model_fields_set
        given = sorted(of_one) + [f"expect.{key}" for key in sorted(self.expect.model_fields_set - {"max_seconds"})]
        if given:
            raise ValueError(
                f"{', '.join(given)}: write it in each of the steps (here only expect.max_seconds, of all)"
            )
        if both := sorted(self.secrets_env.keys() & self.secrets_file.keys()):
            raise ValueError(f"the secret {both[0]} is in secrets_env and secrets_file; keep one")
        secrets = {**self.secrets_env, **self.secrets_file}
        for variable in names_in(self.headers):
            if variable not in secrets:
                raise ValueError(f"headers ask for ${{{variable}}}, which no secret is called; write it in a step")
        check_journey(self.steps, self.cleanup, secrets)

    @property
    def kind(self) -> Kind:
        """What its answers are like."""
        return _KINDS[_split(self.url).scheme]

    @property
    def is_http(self) -> bool:
        """False where there is no status."""
        return self.kind == "http"

    @property
    def instance(self) -> str:
        """The `instance` label. A query may hold a token, and labels are shown in messages: it is left out."""
        return self.name or _without_query(self.url)


def _lower(headers: dict[str, str]) -> set[str]:
    return {header.lower() for header in headers}


# A thousand targets ask for these at every sample.
@lru_cache(maxsize=65_536)
def _split(url: str) -> SplitResult:
    return urlsplit(url)


@lru_cache(maxsize=65_536)
def _without_query(url: str) -> str:
    parts = urlsplit(url)
    # A name server's query is what it is asked for, and no secret.
    return urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query if parts.scheme == "dns" else "", ""))
