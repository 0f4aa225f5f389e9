"""How a Slack destination is set in config.yaml."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator

from notifiers._proxy import LOOPBACK
from tocsin.errors import Refused
from tocsin.ports import Duration, NotifierSettings, secret_text

CHANNEL: Final = re.compile(r"[CGD][A-Z0-9]{2,}")
_MENTION: Final = re.compile(r"[UWS][A-Z0-9]{2,}|here|channel|everyone")


class SlackSettings(NotifierSettings):
    """One channel of one workspace, and the bot that writes there."""

    channel: str = Field(description="the channel's ID, e.g. C0123ABCDEF; edits need the ID, a #name won't do")
    token_env: str | None = Field(default=None, description="the variable with the bot token; default SLACK_BOT_TOKEN")
    token_file: Path | None = Field(default=None, description="a file with the bot token, read anew for each message")
    token: SecretStr | None = Field(default=None, description="the bot token itself; prefer token_env or token_file")
    base_url: str = Field(default="https://slack.com/api/", description="another address of the Web API, for tests")
    timezone: str = Field(default="UTC", description="in which times are written, e.g. Europe/Berlin")
    username: str = Field(default="", max_length=80, description="another name to post as (scope chat:write.customize)")
    icon_emoji: str = Field(default="", pattern=r"^$|^:[a-z0-9_+-]+:$", description="such as :bell:, with username")
    mentions: dict[str, str] = Field(
        default_factory=dict, description="names used in routes and the Slack IDs they stand for: U… or S…"
    )
    interactive: bool = Field(default=False, description="show buttons; needs an interactivity URL in the Slack app")
    spacing: Duration = Field(default=1.0, ge=0, description="at least this between two messages; Slack allows 1/s")
    templates: Path | None = Field(default=None, description="a folder whose *.j2 files replace those of the same name")

    @field_validator("channel")
    @classmethod
    def _is_an_id(cls, channel: str) -> str:
        if CHANNEL.fullmatch(channel):
            return channel
        raise ValueError(
            f"wants a channel ID such as C0123ABCDEF, not {channel!r}: in Slack open the channel, click its name and "
            "copy the ID at the end of the About tab"
        )

    @field_validator("mentions")
    @classmethod
    def _are_ids(cls, mentions: dict[str, str]) -> dict[str, str]:
        for name, target in mentions.items():
            if not _MENTION.fullmatch(target):
                raise ValueError(
                    f"{name}: wants a user's or group's ID (U…, W…, S…), here, channel or everyone, not {target!r}: "
                    "in Slack open the profile, choose ⋯ and then Copy member ID"
                )
        return mentions

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no such time zone: {timezone!r}; write it like Europe/Berlin or UTC") from None
        return timezone

    @field_validator("base_url")
    @classmethod
    def _keeps_the_token_secret(cls, base_url: str) -> str:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"wants an address such as https://slack.com/api/, not {base_url!r}")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError(f"{base_url!r} would send the token in clear; use https")
        return base_url if base_url.endswith("/") else base_url + "/"

    @model_validator(mode="after")
    def _has_one_token(self) -> SlackSettings:
        given = [name for name in ("token_env", "token_file", "token") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; keep one of them")
        if self.icon_emoji and not self.username:
            raise ValueError("icon_emoji needs username beside it")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def read_token(self, folder: Path) -> str:
        """The bot token as it is now. Raises Refused that says which variable or file lacks it."""
        if self.token is not None:
            token, where = secret_text(self.token), "`token`"
        elif self.token_file is not None:
            path = folder / self.token_file
            where = str(path)
            try:
                token = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise Refused(f"can't read the Slack token: {error}", mend=f"write the bot token to {path}") from error
        else:
            where = self.token_env or "SLACK_BOT_TOKEN"
            token = os.environ.get(where, "")
        token = token.strip()
        if not token:
            raise Refused(f"there is no Slack token in {where}", mend=f"put the bot token (xoxb-…) into {where}")
        if not token.startswith(("xoxb-", "xoxp-", "xoxe.")) or not token.isascii() or len(token.split()) != 1:
            raise Refused(
                f"what {where} holds is no bot token", mend="use the Bot User OAuth Token (xoxb-…) of the app"
            )
        return token
