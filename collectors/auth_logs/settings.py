"""The auth_logs collector's keys in config.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tocsin.ports import CollectorSettings, Duration


class FileSource(BaseModel):
    """A file of JSON lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1, description="relative paths are relative to config.yaml")


class AuthLogsSettings(CollectorSettings):
    """`kind: auth_logs`."""

    source: FileSource
    start: str = Field(
        default="end",
        pattern="^(end|beginning)$",
        description="where to begin in a file that was never read: end, beginning",
    )
    watch: Duration = Field(default=0.25, ge=0, description="how often to look for growth between polls; 0: never")
    top_ips: int = Field(default=50, ge=1, le=1000, description="addresses that have series of their own")
    idle: Duration = Field(default=3600.0, ge=60, description="a quiet address keeps its series this long")
    show_ips: bool = Field(
        default=False, description="addresses in clear instead of hashed: personal data in every label"
    )
    max_line: int = Field(default=256 << 10, ge=1024, le=16 << 20, description="bytes; a longer line is not read")
    bytes_per_poll: int = Field(
        default=32 << 20, ge=64 << 10, description="a backlog is worked off in polls of this size"
    )
