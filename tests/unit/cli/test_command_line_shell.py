"""The program itself: its commands, its help, its errors and exit codes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import Result

import tocsin
from tocsin import cli
from tocsin.errors import CollectError, ConfigError, PromQLError

Run = Callable[..., Result]

HEAVY = ("pydantic", "yaml", "sqlalchemy", "aiohttp", "numpy", "jinja2", "starlette")


def leaves(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        return [leaf for name, sub in command.commands.items() for leaf in leaves(sub, (*path, name))]
    return [(path, command)]


EVERY = [leaf for name, entry in cli.COMMANDS.items() for leaf in leaves(cli._imported(entry), (name,))]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_entry_leads_to_a_command_of_that_name(name: str) -> None:
    """A line in the registry that leads nowhere would be found by a user."""
    module, _, attribute = cli.COMMANDS[name].target.partition(":")
    assert getattr(importlib.import_module(module), attribute).name == name


@pytest.mark.parametrize(("path", "command"), EVERY, ids=lambda value: " ".join(value) if type(value) is tuple else "")
def test_every_command_has_help(path: tuple[str, ...], command: click.Command, run: Run) -> None:
    """With what it does, and each of its options explained."""
    result = run(*path, "--help")
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert (result.exit_code, bool(command.help), [o.name for o in options if not o.help]) == (0, True, [])


def test_help_lists_every_command(run: Run) -> None:
    """In the order of the registry."""
    listed = run("--help").output.partition("Commands:")[2].splitlines()
    names = [line.split()[0] for line in listed if line.startswith("  ") and line[2:3].isalpha()]
    assert names[: len(cli.COMMANDS)] == list(cli.COMMANDS)


def test_help_fits_a_terminal_of_eighty_columns(run: Run) -> None:
    """The narrowest that people use."""
    assert [line for line in run("--help", terminal_width=80).output.splitlines() if len(line) > 80] == []


def test_help_loads_nothing_heavy() -> None:
    """`tocsin --help` answers at once: in a process of its own, it imports no command and none of what they use."""
    code = f"""
import sys
from tocsin.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == "[]"


def test_the_installed_program_starts() -> None:
    """The entry point of the distribution, as a user calls it."""
    code = "import sys; from importlib.metadata import entry_points as e; e(group='console_scripts')['tocsin'].load()()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"tocsin {tocsin.__version__}\n"


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    """And exits as unusable input."""
    result = run("chek")
    assert (result.exit_code, "no command 'chek'; did you mean 'check'?" in result.output) == (2, True)


def test_an_unknown_command_that_is_near_nothing_points_to_help(run: Run) -> None:
    """Rather than to a guess."""
    assert "see 'tocsin --help'" in run("xyzzy").output


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ConfigError.at("c.yaml", 3, "wrong", "mend it"), 2, "c.yaml:3: wrong; mend it\n"),
        (PromQLError("no such function"), 2, "tocsin: no such function\n"),
        (CollectError(), 1, "tocsin: The collector could not look: what it watches is unknown.\n"),
        (
            ZeroDivisionError("by zero"),
            1,
            "tocsin: unexpected error: ZeroDivisionError: by zero; run it again with TOCSIN_DEBUG=1 to see where, "
            "and report that\n",
        ),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, told: str
) -> None:
    """Never a traceback."""
    monkeypatch.setattr("tocsin.cli.check.EXAMPLE", _Raises(error))
    result = run("check", "--example")
    assert (result.exit_code, result.stderr, result.stdout) == (code, told, "")


def test_with_debug_the_traceback_shows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever reports it."""
    monkeypatch.setenv("TOCSIN_DEBUG", "1")
    monkeypatch.setattr("tocsin.cli.check.EXAMPLE", _Raises(ZeroDivisionError()))
    assert isinstance(run("check", "--example").exception, ZeroDivisionError)


class _Raises:
    """Stands for a file whose reading fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read_text(self, encoding: str) -> str:
        raise self._error
