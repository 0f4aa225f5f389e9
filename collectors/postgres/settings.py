"""What `kind: postgres` takes in config.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from tocsin.ports import CollectorSettings, Duration


class PostgresSettings(CollectorSettings):
    """One server. Name exactly one of dsn_env, dsn_file and dsn."""

    # A connection string set in the wrong key must not be shown in the error about it.
    model_config = ConfigDict(hide_input_in_errors=True)

    dsn_env: str | None = Field(
        default=None, description="the environment variable with the connection string, e.g. DATABASE_URL"
    )
    dsn_file: Path | None = Field(default=None, description="a file that holds the connection string")
    dsn: SecretStr | None = Field(
        default=None, description="the connection string itself: refused with a password unless allow_inline_secrets"
    )
    databases: tuple[str, ...] = Field(
        default=(), description="further databases of the server whose tables and indexes are watched"
    )
    slow_query_seconds: Duration = Field(default=1.0, gt=0, description="a query that lasts longer is slow")
    activity_interval: Duration = Field(
        default=0.5, ge=0.05, description="time between looks at running queries; each costs under a millisecond"
    )
    statements_interval: Duration = Field(
        default=10.0, ge=1, description="time between looks at pg_stat_statements, which prove what the others missed"
    )
    statements_top: int = Field(
        default=30, ge=0, le=500, description="statements with series of their own; the rest are summed as `other`"
    )
    query_deadline: Duration = Field(
        default=2.0, ge=0.2, le=60, description="statement_timeout of ours; a little later the socket is cut"
    )
    connect_deadline: Duration = Field(default=3.0, ge=0.1, le=60, description="an attempt to connect ends here")
    exclude_roles: frozenset[str] = Field(
        default=frozenset(), description="roles whose queries are never slow, e.g. a reporting role"
    )
    application_name: str = Field(default="tocsin", min_length=1, max_length=63)

    needs_secret: ClassVar[tuple[str, ...]] = ("dsn",)

    @field_validator("dsn_env")
    @classmethod
    def _names_a_variable(cls, name: str | None) -> str | None:
        # The commonest slip: the string itself where its variable's name belongs. It must not be echoed.
        if name is not None and not name.replace("_", "a").isalnum():
            raise ValueError("this is not the name of an environment variable; write dsn_env: DATABASE_URL")
        return name

    @model_validator(mode="after")
    def _names_one_source(self) -> Self:
        given = [name for name in ("dsn_env", "dsn_file", "dsn") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"name exactly one of dsn_env, dsn_file and dsn; found {found}")
        return self

    @property
    def look_interval(self) -> float:
        """Seconds between looks: half of the threshold at most, so that no slow query fits between two."""
        return min(self.activity_interval, self.slow_query_seconds / 2)
