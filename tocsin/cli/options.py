"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tocsin.config import Config

Function = TypeVar("Function", bound=Callable[..., Any])


def config_option(function: Function) -> Function:
    """`--config FILE`, given to the command as `config: Path`."""
    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path),
        default=Path("config.yaml"),
        envvar="TOCSIN_CONFIG",
        show_default=True,
        show_envvar=True,
        metavar="FILE",
        help="The configuration.",
    )(function)


def json_option(function: Function) -> Function:
    """`--json`, given to the command as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def load(path: Path) -> Config:
    """The configuration at `path`. Secrets may be missing: see `require_secrets`. Raises ConfigError."""
    from tocsin.config import load_config

    return load_config(path, os.environ, allow_missing_secrets=True)


class DurationType(click.ParamType[timedelta]):
    """Prometheus' durations: 30m, 2h, 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from tocsin.durations import parse_duration

        if isinstance(value, timedelta):
            return value
        try:
            return timedelta(seconds=parse_duration(value))
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


class TimeType(click.ParamType[datetime]):
    """RFC 3339, or seconds since the epoch; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromtimestamp(float(value), UTC)
        except (ValueError, OverflowError, OSError):
            pass
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write it like 2026-07-01T12:00:00Z or 1782907200", param, ctx)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


DURATION = DurationType()
TIME = TimeType()
