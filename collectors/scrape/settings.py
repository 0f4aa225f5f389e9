"""The scrape collector's keys in config.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tocsin.model import Seconds
from tocsin.ports import CollectorSettings, Duration

_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
# The runtime cancels a poll at its time limit; scrapes end a little before, so that what they found is still told.
_WITHIN_POLL: Final = 0.95


class Tls(BaseModel):
    """How the target's certificate is checked, and the one we show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verify: bool = Field(default=True, description="false: any certificate will do")
    ca_file: str | None = Field(
        default=None, description="PEM file of the authorities to trust instead of the system's"
    )
    cert_file: str | None = Field(default=None, description="PEM file of our certificate, with its chain")
    key_file: str | None = Field(default=None, description="PEM file of its key; default: in cert_file")


class Target(BaseModel):
    """One address that exposes metrics."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    name: str = Field(default="", max_length=200, description="the `instance` label; default: host:port")
    labels: dict[str, str] = Field(default_factory=dict, description="added to every series of this target")
    headers: dict[str, str] = Field(default_factory=dict)
    headers_env: dict[str, str] = Field(
        default_factory=dict, description="header → environment variable that holds its value"
    )
    bearer_token_env: str | None = Field(default=None, description="environment variable that holds a bearer token")
    bearer_token_file: str | None = Field(default=None, description="file that holds one; read anew at every scrape")
    honor_labels: bool = Field(
        default=False, description="on a clash the exposed label wins (but `job`), e.g. a Pushgateway's"
    )
    honor_timestamps: bool = Field(default=True, description="false: every sample bears the time of the scrape")
    sample_limit: int = Field(default=50_000, ge=1, description="more samples than this fail the scrape")
    body_limit: int = Field(default=32 << 20, ge=1024, le=1 << 30, description="bytes, unpacked; more fail the scrape")
    deadline: Duration | None = Field(
        default=None, gt=0, description="default: as long as the collector's poll may take"
    )
    tls: Tls = Tls()

    @model_validator(mode="after")
    def _checked(self) -> Self:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"url {self.url!r}: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url {self.url!r} is not an http:// or https:// address")
        if parts.username is not None or parts.password is not None:
            raise ValueError("url holds a user or password; use headers_env: {Authorization: VARIABLE}")
        for header in self.headers:
            if header.lower() in _SECRET_HEADERS:
                raise ValueError(f"header {header} holds a secret; write headers_env: {{{header}: VARIABLE}} instead")
        if self.bearer_token_env and self.bearer_token_file:
            raise ValueError("bearer_token_env and bearer_token_file are both set; keep one")
        return self

    @property
    def instance(self) -> str:
        """The `instance` label: the name, or host:port with the scheme's own port where the URL has none."""
        if self.name:
            return self.name
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


class ScrapeSettings(CollectorSettings):
    """`kind: scrape`."""

    targets: tuple[Target, ...] = Field(min_length=1)
    concurrency: int = Field(default=20, ge=1, le=1000, description="scrapes under way at once, at most")
    new_series_from_zero: bool = Field(
        default=True, description="a counter's label set that is new since the last scrape began at zero then"
    )

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
        return self

    @property
    def subjects(self) -> Sequence[Mapping[str, str]]:
        """Its targets."""
        return [{"instance": target.instance} for target in self.targets]

    @property
    def budget(self) -> Seconds:
        """How long a poll's scrapes may take together."""
        return self.time_limit * _WITHIN_POLL

    def deadline_of(self, target: Target) -> Seconds:
        """When a scrape of `target` is given up, counted from its begin."""
        return min(target.deadline or self.time_limit, self.budget * _WITHIN_POLL)
