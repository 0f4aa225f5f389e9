"""The dependencies collector's keys in config.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tocsin.ports import CollectorSettings, Duration


class Source(BaseModel):
    """What is scanned: exactly one of `lock`, `environment`, `npm`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$", description="the `source` label")
    lock: str | None = Field(default=None, min_length=1, description="requirements file, relative to config.yaml")
    environment: str | None = Field(default=None, min_length=1, description="folder of a virtual environment")
    npm: str | None = Field(default=None, min_length=1, description="a package-lock.json")
    ask: Literal["osv", "npm"] = Field(
        default="osv",
        description="of a package-lock.json: OSV, or `npm audit` (npm's registry, by the npm that is installed)",
    )
    sbom: str | None = Field(default=None, min_length=1, description="CycloneDX JSON is written here after a scan")

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if sum(place is not None for place in (self.lock, self.environment, self.npm)) != 1:
            raise ValueError(f"source {self.name!r} names not exactly one of lock, environment, npm; name one")
        if self.npm is None and "ask" in self.model_fields_set:
            raise ValueError(f"source {self.name!r}: `ask` is for npm; remove it")
        if self.ask == "npm" and self.sbom is not None:
            raise ValueError(f"source {self.name!r}: `npm audit` gives no SBOM; use `ask: osv`, or remove sbom")
        return self


class DependenciesSettings(CollectorSettings):
    """`kind: dependencies`."""

    interval: Duration = Field(default=60.0, ge=0.1, description="time between polls; they repeat the last scan")
    sources: tuple[Source, ...] = Field(min_length=1)
    every: Duration = Field(default=6 * 3600.0, ge=1, description="time between scans of a source")
    retry: Duration = Field(default=600.0, ge=1, description="after a scan that failed")
    scan_deadline: Duration = Field(default=300.0, ge=1, description="a scan's end at the latest")
    osv_url: str = Field(default="https://api.osv.dev", description="OSV's API, or a mirror of it")
    max_findings: int = Field(default=100, ge=1, le=10_000, description="findings with a series of their own, a source")

    @property
    def subjects(self) -> Sequence[Mapping[str, str]]:
        """Its sources."""
        return [{"source": source.name} for source in self.sources]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sources are called {name!r}; give one of them another `name`")
        parts = urlsplit(self.osv_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"osv_url {self.osv_url!r} is not an http:// or https:// address")
        return self
