"""The auth_logs collector's keys in config.yaml."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from tocsin.ports import CollectorSettings, Duration

TableName = Literal[
    "sessions", "refresh_tokens", "mfa_factors", "mfa_challenges", "users", "identities", "one_time_tokens"
]


class ManagementApi(BaseModel):
    """Supabase's Management API, polled; set the collector's interval to 30s or more."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    project: str = Field(pattern=r"^[a-z0-9_-]{1,64}$", description="its reference: the first part of REF.supabase.co")
    token: SecretStr = Field(description="a personal access token, as token_env or token_file")
    base_url: str = Field(default="https://api.supabase.com", pattern=r"^https?://", description="of the API")
    overlap: Duration = Field(
        default=120.0, ge=0, le=3600, description="events of this stretch are asked for again, for those that came late"
    )


class Backfill(ManagementApi):
    """What the drain missed while we were down, fetched from Supabase's Management API."""

    interval: Duration = Field(default=300.0, ge=30, le=3600, description="time between two comparisons")


class Drain(BaseModel):
    """Supabase's log drain (Pro plan), which posts to /ingest/auth-logs."""

    # A secret in the wrong key must not be shown in the error about it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="what the header X-Tocsin-Secret must hold, as secret_env or secret_file; without it a service "
        "token with the scope ingest:write is wanted",
    )
    spool: str | None = Field(
        default=None,
        min_length=1,
        description="folder where events wait to be counted, of this collector alone; relative to config.yaml; "
        "default: NAME-drain",
    )
    spool_bytes: int = Field(
        default=256 << 20, ge=1 << 20, description="what may wait there; more is answered 503, and so lost"
    )
    backfill: Backfill | None = None


class OwnServer(BaseModel):
    """A server that goes on with its users' sessions, as one that renders pages does: give network, agent, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field(default="", description="its addresses, e.g. 10.0.0.0/8")
    agent: str = Field(default="", description="what its user agent holds, e.g. node")

    @field_validator("network")
    @classmethod
    def _is_network(cls, value: str) -> str:
        if value:
            ip_network(value)
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.network and not self.agent:
            raise ValueError("name a network, an agent, or both: a server without either would be everybody")
        return self


class TablesSettings(BaseModel):
    """Auth's other tables, beside its audit table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    include: tuple[TableName, ...] = Field(
        default=(
            "sessions",
            "refresh_tokens",
            "mfa_factors",
            "mfa_challenges",
            "users",
            "identities",
            "one_time_tokens",
        ),
        description="those that are asked; []: none",
    )
    interval: Duration = Field(default=60.0, ge=1, description="time between two looks at a table")
    sessions: int = Field(
        default=20_000, ge=100, le=200_000,
        description="sessions whose last address and clients are remembered, hashed; the longest quiet are forgotten",
    )  # fmt: skip
    servers: tuple[OwnServer, ...] = Field(
        default=(), description="servers of yours that refresh their users' sessions: no change of hands"
    )
    admins: tuple[str, ...] = Field(default=(), description="e-mails of those who must have a second factor")


class Sql(BaseModel):
    """Auth's tables, polled. None of them tells of a failure."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    dsn: SecretStr = Field(description="the connection string of Auth's database, as dsn_env or dsn_file")
    overlap: Duration = Field(
        default=120.0, ge=0, le=3600, description="rows of this stretch are read again, for those committed late"
    )
    query_deadline: Duration = Field(default=3.0, ge=0.1, le=60, description="statement_timeout of ours")
    tables: TablesSettings = TablesSettings()


class SourceSettings(BaseModel):
    """Where the log comes from: one of these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = Field(
        default=None,
        min_length=1,
        description="of JSON lines, or a container's output as Docker or CRI keeps it; relative to config.yaml",
    )
    drain: Drain | None = None
    management_api: ManagementApi | None = None
    sql: Sql | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"name exactly one of {known}; found {' and '.join(given) or 'none'}")
        return self


class PostureSettings(BaseModel):
    """How Auth is set up, from its own /settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(pattern=r"^https?://[^/@]+/?$", description="of the project, e.g. https://REF.supabase.co")
    api_key: SecretStr | None = Field(default=None, description="sb_publishable_… will do; as api_key_env or _file")
    interval: Duration = Field(default=60.0, ge=1, description="time between two looks")
    deadline: Duration = Field(default=2.0, gt=0, le=10, description="an answer's end at the latest")


class EverydayAction(BaseModel):
    """A change by an administrator that is everyday work: it pages nobody."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: str = Field(
        pattern=r"^(\*|[a-z_]+)$",
        description="as tocsin_auth_admin_actions_total has it, e.g. generate_link; *: every one",
    )
    network: str = Field(
        default="",
        description="where it comes from, e.g. 10.0.0.0/8; empty: from everywhere. Auth logs the address that the "
        "request claims in X-Forwarded-For: of worth where your proxy sets it",
    )

    @field_validator("network")
    @classmethod
    def _is_network(cls, value: str) -> str:
        if value:
            ip_network(value)
        return value


class EventsSettings(BaseModel):
    """Events in clear, with e-mail and address, for a while: personal data. Without it none are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: Duration = Field(ge=3600, le=366 * 86400, description="how long an event is kept, to the hour, e.g. 7d")
    folder: str | None = Field(
        default=None,
        min_length=1,
        description="relative to config.yaml, of this collector alone; default: NAME-events",
    )


class AuthLogsSettings(CollectorSettings):
    """`kind: auth_logs`."""

    source: SourceSettings
    posture: PostureSettings | None = None
    events: EventsSettings | None = None
    start: str = Field(
        default="end",
        pattern="^(end|beginning)$",
        description="where to begin in a file that was never read: end, beginning",
    )
    watch: Duration = Field(default=0.25, ge=0, description="how often to look for growth between polls; 0: never")
    top_ips: int = Field(default=50, ge=1, le=1000, description="addresses that have series of their own")
    top_users: int = Field(default=50, ge=1, le=1000, description="users that have series of their own")
    quiet_admin_actions: tuple[EverydayAction, ...] = Field(
        default=(), description="what your own servers do with the service_role key every day: no page about it"
    )
    idle: Duration = Field(default=3600.0, ge=60, description="a quiet address or user keeps its series this long")
    show_ips: bool = Field(
        default=False, description="addresses in clear instead of hashed: personal data in every label"
    )
    max_line: int = Field(default=256 << 10, ge=1024, le=16 << 20, description="bytes; a longer line is not read")
    bytes_per_poll: int = Field(
        default=64 << 20,
        ge=64 << 10,
        description="a backlog is worked off in polls of this size, or of half their deadline",
    )

    @property
    def spool(self) -> str:
        """The folder of the drain's spool: no two collectors may share one, or each would count what is the other's."""
        given = self.source.drain.spool if self.source.drain is not None else None
        return given or f"{self.name}-drain"

    @property
    def events_folder(self) -> str:
        """The folder of the events that are kept."""
        return (self.events.folder if self.events is not None else None) or f"{self.name}-events"
