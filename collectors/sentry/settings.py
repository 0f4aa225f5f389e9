"""The sentry collector's keys in config.yaml."""

from __future__ import annotations

from pydantic import ConfigDict, Field, SecretStr, field_validator

from collectors.sentry.category import names_of
from tocsin.ports import CollectorSettings, Duration


class SentrySettings(CollectorSettings):
    """`kind: sentry`."""

    # A secret in the wrong key must not be shown in the error about it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    interval: Duration = Field(default=5.0, ge=0.1, description="time between polls: what arrived since is told")
    project: int = Field(ge=1, le=2**31, description="the number at the end of the DSN")
    key: SecretStr = Field(min_length=16, description="the DSN's public key, as key_env or key_file")
    categories: dict[str, str] = Field(
        default_factory=dict,
        description="whose matter an exception is that is known nowhere, or other than by default: "
        "`{shop.pay.Declined: dependency, shop.quota.*: quota}`",
    )

    @field_validator("categories")
    @classmethod
    def _are_labels(cls, categories: dict[str, str]) -> dict[str, str]:
        names_of(categories)
        return categories
