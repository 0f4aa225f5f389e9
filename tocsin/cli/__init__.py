"""The command line. Each command is a module of its own, imported when it is called: `tocsin --help` loads none.

To add a command, write it in tocsin/cli/NAME.py with click and add its line to `COMMANDS`. What commands share is in
`options` (--config, --json), `output` (tables, JSON, empty listings) and `store` (the state store, daemon or not).

Exit codes: 0 fine, 1 a finding (or a failure), 2 unusable input; `run` also 3, an end that was held up. An error is a
message on standard error that says what to do; its traceback shows when TOCSIN_DEBUG is set.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from tocsin import __version__

FINDING: Final = 1
UNUSABLE: Final = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, and what `tocsin --help` says of it."""

    target: str
    """`module:attribute`."""
    summary: str


COMMANDS: Final[dict[str, Entry]] = {
    "run": Entry("tocsin.cli.run:run", "Run the daemon."),
    "demo": Entry("tocsin.cli.demo:demo", "Watch Tocsin at work on this machine, with faults injected."),
    "doctor": Entry("tocsin.cli.doctor:doctor", "What Tocsin can and can't see, and whom it can tell."),
    "check": Entry("tocsin.cli.check:check", "Validate configuration, rules, routes, templates, dashboards, runbooks."),
    "query": Entry("tocsin.cli.query:query", "PromQL against the running daemon or a store's files."),
    "rules": Entry("tocsin.cli.rules:rules", "Alert rules: list, test, backtest, export, noise."),
    "alerts": Entry("tocsin.cli.alerts:alerts", "Alerts that are pending or firing."),
    "incidents": Entry("tocsin.cli.incidents:incidents", "Incidents: list, show, ack, resolve."),
    "silence": Entry("tocsin.cli.silence:silence", "Silences: add, preview, list, expire."),
    "allowlist": Entry("tocsin.cli.allowlist:allowlist", "Who may come in: add, remove, list, test, import, export."),
    "auth": Entry("tocsin.cli.auth:auth", "Sign-ins: the events kept in clear; signing keys: purge."),
    "token": Entry("tocsin.cli.token:token", "Service tokens: create, list, revoke."),
    "state": Entry("tocsin.cli.state:state", "The state store: migrate, back up, check."),
    "dashboards": Entry("tocsin.cli.dashboards:dashboards", "Grafana dashboards: build, export, push."),
}


class LazyGroup(click.Group):
    """Commands that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        return _imported(entry) if entry is not None else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            mend = f"did you mean '{near[0]}'?" if near else "see 'tocsin --help' for the commands there are"
            raise click.UsageError(f"no command '{args[0]}'; {mend}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("TOCSIN_DEBUG"):
                raise
            click.echo(_message(error), err=True)
            sys.exit(_exit_code(error))


def _imported(entry: Entry) -> click.Command:
    module, _, attribute = entry.target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    return command


def _message(error: Exception) -> str:
    from tocsin.errors import InputError, TocsinError

    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, TocsinError):
        mend = getattr(error, "mend", "")
        return f"tocsin: {error}" + (f"; {mend}" if mend else "")
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"tocsin: unexpected error: {what}; run it again with TOCSIN_DEBUG=1 to see where, and report that"


def _exit_code(error: Exception) -> int:
    from tocsin.errors import InputError, PromQLError

    if isinstance(error, (InputError, PromQLError)):
        return UNUSABLE
    # Known only when something has imported it: no plug-in error can come before that.
    plugins = sys.modules.get("tocsin.runtime.plugins")
    return UNUSABLE if plugins is not None and isinstance(error, plugins.PluginError) else FINDING


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command has --help with examples. Documentation of the keys of config.yaml: tocsin check --example",
)
@click.version_option(__version__, prog_name="tocsin", message="%(prog)s %(version)s")
def cli() -> None:
    """Tocsin watches a Supabase/Postgres-backed web application and tells the right engineer, once.

    \b
    To begin:
      tocsin demo                                 see it work on this machine
      tocsin check --example > config.yaml        a commented configuration
      tocsin check                                is everything in order?
      tocsin run                                  the daemon
    """


def main(args: Sequence[str] | None = None) -> None:
    """The `tocsin` program."""
    cli.main(args=None if args is None else list(args), prog_name="tocsin")
