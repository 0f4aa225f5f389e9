"""The keys of config.yaml: one model per section; a field's description is its documentation.

Collectors and notifiers are validated by their plug-ins' own settings models (see `load`), so they are only held here.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, SerializeAsAny, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tocsin.config.document import KeyPath
from tocsin.config.environment import Places
from tocsin.config.fields import LabelSet, Names, Section, Url, Zone
from tocsin.config.routing import DigestSettings, RouteSettings
from tocsin.config.secrets import PLACEHOLDER
from tocsin.errors import ConfigError, Finding
from tocsin.incidents.routes import Digest
from tocsin.ports import CollectorSettings, Duration, NotifierSettings


class EngineSettings(Section):
    """Rules are evaluated on a Prometheus-compatible cluster instead of the embedded store."""

    prometheus: Url = Field(description="base address; /api/v1/query is asked there")
    bearer_token: SecretStr | None = Field(default=None, description="give it as bearer_token_env or bearer_token_file")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="e.g. X-Scope-OrgID")
    deadline: Duration = Field(default=10.0, gt=0, description="one query's end at the latest")
    settle: Duration = Field(
        default=3.0, ge=0, description="how long to wait until samples that were acknowledged can be queried, too"
    )


class RemoteWriteSettings(Section):
    """Samples are also sent there."""

    url: Url
    name: str = Field(default="", description="shown in logs and metrics; default: the host")
    bearer_token: SecretStr | None = Field(default=None, description="give it as bearer_token_env or bearer_token_file")
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    deadline: Duration = Field(default=30.0, gt=0)
    shards: int = Field(default=4, ge=1, le=64, description="requests at once; the order within a series is kept")
    batch: int = Field(default=2000, ge=1, le=50_000, description="samples in one request")
    linger: Duration = Field(default=1.0, ge=0, le=60, description="how long a sample may wait for company")
    max_bytes: int = Field(
        default=512 * 2**20, ge=2**20, description="of the queue on disk; past that the oldest samples are dropped"
    )

    @property
    def title(self) -> str:
        """The name that is shown."""
        return self.name or urlsplit(self.url).netloc.rpartition("@")[2]


class SeriesSettings(Section):
    """Where samples are kept, and for how long."""

    path: Path = Field(default=Path("tocsin-series"), description="the journal's folder")
    retention: Duration = Field(default=86_400.0, ge=600, description="older samples are dropped")
    max_bytes: int | None = Field(
        default=None, ge=2**20, description="of compressed samples; past that the oldest go before their retention ends"
    )
    max_series: int = Field(default=100_000, ge=100, description="new series past this are refused and counted")
    engine: EngineSettings | None = None
    remote_write: tuple[RemoteWriteSettings, ...] = ()

    @field_validator("remote_write")
    @classmethod
    def _told_apart(cls, destinations: tuple[RemoteWriteSettings, ...]) -> tuple[RemoteWriteSettings, ...]:
        titles = [each.title for each in destinations]
        if twice := {title for title in titles if titles.count(title) > 1}:
            raise ValueError(f"two destinations are called {min(twice)!r}; give each a name of its own")
        return destinations


class StateSettings(Section):
    """Where incidents, silences, the outbox and tokens are kept."""

    url: SecretStr = Field(
        default=SecretStr("sqlite:///tocsin.db"), description="sqlite:///FILE, or postgresql://… for several replicas"
    )

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        scheme = text.partition("://")[0].partition("+")[0]
        if text != PLACEHOLDER and scheme not in {"sqlite", "postgresql", "postgres"}:
            raise ValueError("the scheme is not known; write sqlite:///tocsin.db or postgresql://host/database")
        return url


class SupabaseSettings(Section):
    """The Supabase project that people sign in with."""

    url: Url = Field(description="the project's address, e.g. https://ref.supabase.co")


class WebSettings(Section):
    """The one HTTP port."""

    listen: str = Field(default="127.0.0.1:9475", description="HOST:PORT; port 0 takes a free one")
    supabase: SupabaseSettings | None = None

    @field_validator("listen")
    @classmethod
    def _is_address(cls, listen: str) -> str:
        host, separator, port = listen.rpartition(":")
        bare = ":" not in host or (host.startswith("[") and host.endswith("]"))
        if not separator or not host or not bare or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
            raise ValueError(f"not HOST:PORT: {listen!r}; write it like 127.0.0.1:9475 or [::1]:9475")
        return listen

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) to bind."""
        host, _, port = self.listen.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can connect."""
        host = self.address[0]
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


class TelemetrySettings(Section):
    """What the daemon says about itself."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = Field(default="auto", description="auto: text on a terminal")
    otlp_endpoint: Url | None = Field(default=None, description="spans go there over OTLP/HTTP, e.g. http://host:4318")
    otlp_headers: dict[str, SecretStr] = Field(default_factory=dict)


class Config(BaseSettings):
    """The whole of config.yaml. Made by `tocsin.config.load_config`; never changes."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    collectors: tuple[SerializeAsAny[CollectorSettings], ...] = Field(default=(), description="what is watched")
    rules: Names = Field(default=("alert_rules/*.yaml",), description="globs, relative to this file")
    routes: tuple[RouteSettings, ...] = Field(default=(), description="who is told about what, tried in order")
    notifiers: tuple[SerializeAsAny[NotifierSettings], ...] = Field(default=(), description="where messages go")
    series: SeriesSettings = SeriesSettings()
    state: StateSettings = StateSettings()
    web: WebSettings = WebSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    digest: DigestSettings = Field(default=DigestSettings(), description="when `digest: daily` is sent")
    timezone: Zone = Field(default="UTC", description="of digests, e.g. Europe/Berlin")
    external_url: Url | None = Field(default=None, description="where people reach the console, for links in messages")
    external_labels: LabelSet = Field(default_factory=dict, description="added to what leaves for other systems")
    allow_inline_secrets: bool = Field(default=False, description="let secrets stand in clear in this file")

    _file: Path = PrivateAttr(default=Path("config.yaml"))
    _places: Places = PrivateAttr(default_factory=lambda: Places(file="config.yaml"))
    _warnings: tuple[Finding, ...] = PrivateAttr(default=())
    _missing: tuple[tuple[KeyPath, Finding], ...] = PrivateAttr(default=())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """File and environment come merged (see `environment`): entries of lists are addressed by their names there."""
        return (init_settings,)

    @property
    def file(self) -> Path:
        """Where it was read from."""
        return self._file

    @property
    def folder(self) -> Path:
        """What relative paths are relative to."""
        return self._file.absolute().parent

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What works, and is probably not meant."""
        return self._warnings

    @property
    def missing_secrets(self) -> tuple[Finding, ...]:
        """Secrets that are named and are not there; the daemon does not start without them."""
        return tuple(finding for _, finding in self._missing)

    def require_secrets(self, *sections: str) -> None:
        """Raises ConfigError that names each missing secret of `sections` (of all, when none is named)."""
        findings = [finding for path, finding in self._missing if not sections or path[0] in sections]
        if findings:
            raise ConfigError(*findings)

    def finding(self, path: KeyPath, what: str, mend: str = "") -> Finding:
        """A finding about the key at `path`, with its line (or the variable that set it)."""
        return self._places.finding(path, what, mend)

    @property
    def state_url(self) -> str:
        """The state store's address, a relative SQLite file made absolute."""
        self.require_secrets("state")
        url = self.state.url.get_secret_value()
        scheme, _, rest = url.partition(":///")
        if not scheme.startswith("sqlite") or not rest or rest.startswith(("/", ":memory:")):
            return url
        return f"{scheme}:///{self.folder / rest}"

    @property
    def series_path(self) -> Path:
        """The journal's folder, absolute."""
        return self.folder / self.series.path

    @property
    def daily_digest(self) -> Digest:
        """What `digest: daily` means."""
        return Digest(at=self.digest.at, zone=self.digest.timezone or self.timezone)
