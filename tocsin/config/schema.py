"""The keys of config.yaml: one model per section; a field's description is its documentation.

Collectors and notifiers are validated by their plug-ins' own settings models (see `load`), so they are only held here.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, SerializeAsAny, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tocsin.access.allowlist.address import parse_typed
from tocsin.access.webhooks import parse_secrets
from tocsin.config.document import KeyPath
from tocsin.config.environment import Places
from tocsin.config.fields import LabelSet, Names, Section, Url, Zone
from tocsin.config.heartbeat import HeartbeatSettings
from tocsin.config.muting import DependencySettings, WindowSettings
from tocsin.config.routing import DigestSettings, RouteSettings
from tocsin.config.secrets import PLACEHOLDER
from tocsin.errors import ConfigError, Finding
from tocsin.incidents.routes import Digest
from tocsin.ports import CollectorSettings, Duration, NotifierSettings

_PROVIDER: Final = re.compile(r"[a-z0-9_:.-]{1,64}")


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
    retention: Duration = Field(
        default=86_400.0,
        ge=600,
        description="older samples are dropped; the rules on sign-ins compare with a week ago: 8d",
    )
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
        default=SecretStr("sqlite:///tocsin.db"),
        description="sqlite:///FILE, for one daemon, or postgresql://…, which several replicas may share",
    )
    lease: Duration = Field(
        default=10.0, ge=1, le=300,
        description="on Postgres: a leader that is not heard of for this long is replaced, the same on all replicas",
    )  # fmt: skip
    history: Duration = Field(
        default=180 * 86400.0,
        ge=30 * 86400,
        description="how long ended incidents and silences are kept; 30d at least, which previews look back",
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
    """The Supabase project that people sign in with; who of them may come in is the allowlist's to say."""

    url: Url = Field(description="the project's address, e.g. https://ref.supabase.co")
    api_key: SecretStr | None = Field(
        default=None,
        description="sb_secret_… (the browser's address is passed on) or sb_publishable_…, as api_key_env or "
        "api_key_file; without it nobody signs in here, and access tokens alone are verified",
    )
    issuer: str | None = Field(default=None, description="the tokens' iss; default: url/auth/v1")
    audience: str = Field(default="authenticated", min_length=1, description="the tokens' aud")
    jwks_url: Url | None = Field(default=None, description="where the public keys are; default: below the issuer's url")
    jwt_secret: SecretStr | None = Field(
        default=None, description="of a project on the legacy shared secret (HS256), as jwt_secret_env or _file"
    )
    max_lifetime: Duration = Field(default=3600.0, gt=0, le=604_800, description="tokens that live longer are refused")
    least_aal: Literal["aal1", "aal2"] = Field(default="aal1", description="aal2: only with a second factor")
    live_check: bool = Field(
        default=True, description="ask Supabase every 10 s whether a session was ended or its user banned"
    )
    providers: Names = Field(default=(), description="OAuth providers to sign in with, e.g. [google, github]")
    break_glass: Names = Field(default=(), description="addresses that are admins whatever the allowlist says")
    hook_secret: SecretStr | None = Field(
        default=None,
        description="of the before-user-created hook, v1,whsec_…, several with | between; as _env or _file",
    )

    @field_validator("break_glass")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            parse_typed(address)
        return addresses

    @field_validator("providers")
    @classmethod
    def _are_names(cls, providers: tuple[str, ...]) -> tuple[str, ...]:
        for provider in providers:
            if not _PROVIDER.fullmatch(provider):
                raise ValueError(f"not a provider's name: {provider!r}; write it as Supabase does, such as google")
        return providers

    @field_validator("jwt_secret")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        text = PLACEHOLDER if secret is None else secret.get_secret_value()
        if text != PLACEHOLDER and len(text.encode()) < 32:
            raise ValueError("the shared secret has fewer than 32 bytes; copy it whole from the project's settings")
        return secret

    @field_validator("hook_secret")
    @classmethod
    def _is_hook_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and secret.get_secret_value() != PLACEHOLDER:
            parse_secrets(secret.get_secret_value())
        return secret


class SessionSettings(Section):
    """Sessions of the console in a browser."""

    lifetime: Duration = Field(default=43_200.0, ge=60, le=2_592_000, description="a session's end, however busy it is")
    idle: Duration = Field(default=7_200.0, ge=60, le=2_592_000, description="its end without a request")
    key: SecretStr | None = Field(
        default=None,
        description="encrypts what sessions hold, 32 bytes or more, as key_env or key_file; several replicas need the "
        "same; default: a file that is made beside the state",
    )

    @field_validator("key")
    @classmethod
    def _is_long(cls, key: SecretStr | None) -> SecretStr | None:
        text = PLACEHOLDER if key is None else key.get_secret_value()
        if text != PLACEHOLDER and len(text.encode()) < 32:
            raise ValueError("the key has fewer than 32 bytes; make one: openssl rand -hex 32")
        return key


class WebSettings(Section):
    """The one HTTP port."""

    listen: str = Field(default="127.0.0.1:9475", description="HOST:PORT; port 0 takes a free one")
    supabase: SupabaseSettings | None = None
    session: SessionSettings = SessionSettings()

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
    windows: tuple[WindowSettings, ...] = Field(default=(), description="hours in which some alerts are not told")
    dependencies: tuple[DependencySettings, ...] = Field(default=(), description="alerts that others explain")
    series: SeriesSettings = SeriesSettings()
    state: StateSettings = StateSettings()
    web: WebSettings = WebSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    heartbeat: HeartbeatSettings | None = None
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
