"""What a page asks its reader to type: code blocks and `…` spans, and the statements and commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import click

from tocsin.cli import cli

_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED: Final = re.compile(r"(?:^ {4,}\S.*\n)+", re.MULTILINE)
_SPAN: Final = re.compile(r"`([^`]+)`")
_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_SQL: Final = re.compile(
    r"(?:select|with|show|explain|set|alter|create|drop|reindex|vacuum|analyze|insert|update|delete|grant|reset"
    r"|commit prepared|rollback prepared) ",
    re.IGNORECASE,
)
_PSQL: Final = re.compile(r"psql [^\n]*-c (['\"])((?!\\).+?)\1")
_COMMAND: Final = re.compile(r"(?:^|[|;&(]\s*|\bdo )tocsin (?=[a-z])", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Typed:
    """A piece of code on a page."""

    page: str
    section: str
    text: str
    block: bool
    """Blocks are typed as they stand; a span may only name something."""
    language: str = ""
    """As the fence says; empty for a span and an indented block."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """An SQL statement, and what a comment behind it says about the server."""

    page: str
    section: str
    text: str
    since: int = 0
    until: int = 99


def sections_of(page: str) -> dict[str, str]:
    """The text under each heading of the second level."""
    parts = _HEADING.split(page)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def typed_on(name: str, page: str) -> Iterator[Typed]:
    """Every piece of code, block by block, then the spans; a span that is broken over lines is joined."""
    for section, text in {"": _HEADING.split(page)[0], **sections_of(page)}.items():
        for _, language, block in _FENCE.findall(text):
            yield Typed(page=name, section=section, text=block, block=True, language=language)
        prose = _FENCE.sub("\n", text)
        for block in _INDENTED.findall(prose):
            if _is_code(block):
                yield Typed(page=name, section=section, text=block, block=True)
        for span in _SPAN.findall(_INDENTED.sub(lambda found: "" if _is_code(found[0]) else found[0], prose)):
            yield Typed(page=name, section=section, text=" ".join(span.split()), block=False)


def _is_code(text: str) -> bool:
    """Whether indented lines are a block: the text of a numbered step is indented by three."""
    return "`" not in text or text.lstrip().startswith(("jq ", "select ", "journalctl ", "psql "))


def statements_in(typed: Typed) -> Iterator[Statement]:
    """The SQL of a piece; `-- 17 and newer` and `-- up to 16` behind a statement bound the servers that know it."""
    texts = [typed.text] if _SQL.match(typed.text.lstrip()) else [found[2] for found in _PSQL.finditer(typed.text)]
    for text in texts:
        for part in re.findall(r"\s*((?:[^;']|'[^']*')+)(?:;[ ]*(?:--([^\n]*))?|$)", text.strip()):
            statement, remark = " ".join(part[0].split()), part[1]
            if not statement:
                continue
            since, until = re.search(r"(\d+) and newer", remark), re.search(r"up to (\d+)", remark)
            yield Statement(
                page=typed.page,
                section=typed.section,
                text=statement,
                since=int(since[1]) if since else 0,
                until=int(until[1]) if until else 99,
            )


def commands_in(typed: Typed) -> Iterator[list[str]]:
    """The `tocsin …` command lines of a piece, without `tocsin`."""
    for found in _COMMAND.finditer(typed.text):
        line = re.sub(r"\\\n\s*", " ", typed.text[found.end() :]).partition("\n")[0]
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split = True
        lexer.commenters = ""
        words: list[str] = []
        for word in lexer:
            if word and set(word) <= set("|;&<>"):
                break
            words.append(word)
        yield words


def parses(arguments: list[str]) -> None:
    """The options are there and take these values; nothing is started. Raises click's UsageError."""
    command, inner = command_of(arguments)
    assert command is not None, f"`tocsin {' '.join(arguments[:2])}` is no command"
    with command.make_context(inner[0], inner[1:]):
        pass


def command_of(arguments: list[str]) -> tuple[click.Command | None, list[str]]:
    """The command that is meant, and its own name with what follows."""
    command = cli.get_command(click.Context(cli), arguments[0])
    if isinstance(command, click.Group) and arguments[1:]:
        return command.commands.get(arguments[1]), arguments[1:]
    return command, arguments
