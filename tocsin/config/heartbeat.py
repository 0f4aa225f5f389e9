"""The keys of `heartbeat`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from tocsin.config.fields import Names, Section, is_url
from tocsin.config.secrets import PLACEHOLDER
from tocsin.ports import Duration


class HeartbeatSettings(Section):
    """An address outside that is asked while an alert would get through: whoever misses it raises the alarm."""

    url: SecretStr = Field(description="asked with GET; whoever knows it can answer for us, so give it as url_env")
    every: Duration = Field(default=60.0, ge=1, le=3600, description="between two walks of the canary")
    within: Duration = Field(default=30.0, gt=0, description="its whole walk, at the latest; no more than `every`")
    through: Names = Field(
        default=(),
        description="one of these notifiers must be able to take a message; default: the first, and its failover",
    )

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() != PLACEHOLDER:
            is_url(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _ends_in_time(self) -> Self:
        if self.within > self.every:
            raise ValueError("`within` is longer than `every`: a walk must end before the next begins")
        return self
