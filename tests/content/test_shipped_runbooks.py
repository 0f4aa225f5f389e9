"""The runbooks: a page per alert, with something to do on it, whose links lead somewhere and whose queries mean it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from collectors import auth_logs
from tests.content.declared import Declared
from tests.content.pages import command_of, commands_in, parses, sections_of, statements_in, typed_on
from tocsin.incidents.matching import parse_matcher
from tocsin.promql import compile_expr
from tocsin.rules import AlertRule
from tocsin.rules.unit_tests import UnitTestFile
from tocsin.testing import supabase

SECTIONS = ["What it means", "Check", "False alarm, silence, end", "Mend", "Escalate"]


def commands_on(page: str) -> list[list[str]]:
    """Every `tocsin …` line of a page."""
    return [words for piece in typed_on("", page) for words in commands_in(piece)]


def queries_in(page: str) -> list[str]:
    """What a page's `tocsin query …` lines ask, less those that leave the expression to the reader."""
    asked = [words[1] for words in commands_on(page) if words[0] == "query" and words[1:]]
    return [query for query in asked if query != "EXPR"]


def test_every_alert_has_its_page_and_every_page_its_alert(
    alerts: tuple[AlertRule, ...], runbooks: dict[str, str]
) -> None:
    """Who is woken finds a page; a page of an alert that is gone misleads."""
    assert sorted({rule.name for rule in alerts}) == sorted(runbooks)


def test_every_page_is_named_after_its_alert(runbooks: dict[str, str]) -> None:
    """Whoever lands on it by search sees that it is the one."""
    assert [name for name, page in runbooks.items() if not page.startswith(f"# {name}\n")] == []


def test_every_page_has_all_sections(runbooks: dict[str, str]) -> None:
    """Five sections, in this order, none of them empty."""
    found = {name: sections_of(page) for name, page in runbooks.items()}
    assert {name: list(parts) for name, parts in found.items() if list(parts) != SECTIONS} == {}
    assert [f"{name}: {title}" for name, parts in found.items() for title in parts if not parts[title].strip()] == []


def test_every_page_has_something_to_type_or_to_do(runbooks: dict[str, str]) -> None:
    """Check shows a command (in `…` or indented) or numbered steps; Mend says at least one thing to do."""
    found = {name: sections_of(page) for name, page in runbooks.items()}
    shows = re.compile(r"^ *```|`[^`\n]*[ (_][^`]*`|^ {4,}\S|^\d+\. ", re.MULTILINE)
    assert [name for name, parts in found.items() if not shows.search(parts["Check"])] == []
    step = re.compile(r"^(?:- |\d+\. )|`[^`]+`", re.MULTILINE)
    assert [name for name, parts in found.items() if not step.search(parts["Mend"])] == []


def test_every_page_says_when_it_is_wrong_how_to_silence_it_and_when_it_is_over(
    runbooks: dict[str, str], unit_tests: tuple[UnitTestFile, ...]
) -> None:
    """The silence is of this alert, with an end, a reason, and matchers on labels that it bears (in a unit test)."""
    borne: dict[str, set[str]] = {}
    for case in (case for file in unit_tests for test in file.tests for case in test.alerts):
        borne.setdefault(case.alertname, set()).update(*(labels for labels, _ in case.expected))
    wrong: dict[str, object] = {}
    for name, page in runbooks.items():
        section = sections_of(page)["False alarm, silence, end"]
        starts = re.findall(r"^- \*\*([\w ]+)", section, re.MULTILINE)
        silences = [words for words in commands_on("## x\n" + section) if words[:2] == ["silence", "add"]]
        matchers = [parse_matcher(word) for word in silences[0][2 : silences[0].index("--for")]] if silences else []
        known = {"alertname", "job", "service", *borne.get(name, ())}
        if starts != ["False alarm", "Silence", "Over"]:
            wrong[name] = starts
        elif [matcher.value for matcher in matchers if matcher.name == "alertname"] != [name]:
            wrong[name] = matchers
        elif strangers := {matcher.name for matcher in matchers} - known:
            wrong[name] = strangers
    assert wrong == {}


def test_whoever_is_woken_reads_whom_to_call_and_when(alerts: tuple[AlertRule, ...], runbooks: dict[str, str]) -> None:
    """A P0 or P1 that is for "this week" alone, or for nobody, woke somebody for nothing."""
    waking = {rule.name for rule in alerts if {"P0", "P1"} & {part.text for part in rule.labels}}
    told = {name: " ".join(sections_of(runbooks[name])["Escalate"].split()) for name in waking}
    idle = re.compile(r"(?:None|Not needed|[^.:]*, this week\.$|P0: unacknowledged)")
    assert sorted(name for name, text in told.items() if idle.match(text)) == []


def test_links_between_pages_lead_somewhere(root: Path) -> None:
    """A dead link at three in the morning is worse than none."""
    dead = [
        f"{path.name}: {target}"
        for path in sorted((root / "runbooks").glob("*.md"))
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert dead == []


def test_the_index_leads_to_every_page_and_only_to_those(root: Path, runbooks: dict[str, str]) -> None:
    """Who begins with a symptom finds each page; none is gone, and no link says another name than it leads to."""
    index = (root / "runbooks" / "README.md").read_text()
    listed = re.findall(r"\[(\w+)\]\((\w+)\.md\)", index)
    assert [(name, target) for name, target in listed if name != target] == []
    assert sorted(runbooks) == sorted({target for _, target in listed})


def test_the_index_is_in_the_words_of_those_who_call(root: Path) -> None:
    """Each entry begins with what somebody says, and with few pages of all that it may be."""
    index = (root / "runbooks" / "README.md").read_text().partition("## By symptom")[2]
    entries = [" ".join(entry.split()) for entry in re.findall(r"^- (.+?)(?=^- |^$)", index, re.MULTILINE | re.DOTALL)]
    assert [entry for entry in entries if not entry.startswith('**"')] == []
    begin = {entry.partition("**:")[0]: entry.partition("; then")[0].count("](") for entry in entries}
    assert {said: count for said, count in begin.items() if not 1 <= count <= 4} == {}
    assert len(entries) > 20


def test_queries_on_the_pages_are_promql_on_declared_series(runbooks: dict[str, str], declared: Declared) -> None:
    """Typed as they stand, they answer."""
    wrong: dict[str, set[str]] = {}
    for name, page in runbooks.items():
        for query in queries_in(page):
            plan = compile_expr(query)
            if found := declared.unknown_names(plan) | declared.unknown_labels(plan):
                wrong[f"{name}: {query}"] = found
    assert wrong == {}


def test_series_that_pages_speak_of_are_declared(runbooks: dict[str, str], declared: Declared) -> None:
    """Also in prose: whoever looks for the name finds it."""
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in declared.labels} | set(declared.labels)
    found = {(name, word) for name, page in runbooks.items() for word in re.findall(r"\btocsin_[a-z0-9_]+\b", page)}
    assert sorted((name, word) for name, word in found if word not in families) == []


def test_no_command_stands_in_the_prose(runbooks: dict[str, str]) -> None:
    """A command outside of a code block loses its quotes, stars and line breaks on the way to a browser."""
    bare = re.compile(r"^(?:jq|tocsin|select|openssl|psql|systemctl|journalctl|vacuum|curl) ", re.MULTILINE)
    pages = {name: re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL) for name, page in runbooks.items()}
    # A line of prose may begin with such a word inside of `…` that began on the line before.
    pages = {name: re.sub(r"`[^`]+`", "", page) for name, page in pages.items()}
    assert [name for name, page in pages.items() if bare.search(page)] == []


def test_commands_on_the_pages_can_be_typed(
    root: Path, runbooks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a command of this Tocsin, with options that it has and values that they take. What is only named (`tocsin
    allowlist add`) is there."""
    monkeypatch.chdir(tmp_path)
    for file in ("LOCK", "FILE"):
        (tmp_path / file).touch()
    wrong: dict[str, str] = {}
    pages = {**runbooks, "README": (root / "runbooks" / "README.md").read_text()}
    lines = [(name, words) for name, page in pages.items() for words in commands_on(page)]
    for name, words in lines:
        command, inner = command_of(words)
        try:
            if command is None or len(inner) > 1:
                parses(words)
        except (click.UsageError, AssertionError) as error:
            wrong[f"{name}: tocsin {' '.join(words)}"] = str(error)
    assert wrong == {}
    assert len(lines) > 60


def test_what_jq_looks_for_is_in_auths_lines(runbooks: dict[str, str]) -> None:
    """Each field and each value is one that the stand-in for Auth writes, or that the collector reads: a misspelt one
    finds nothing, which reads as "nothing happened"."""
    sources = [path for package in (auth_logs, supabase) for path in Path(package.__path__[0]).rglob("*.py")]
    known = set(re.findall(r"[\w-]+", " ".join(path.read_text() for path in sources)))
    programs = [
        (name, program) for name, page in runbooks.items() for program in re.findall(r"jq -[rc] '([^']+)'", page)
    ]
    asked = {
        (name, word)
        for name, program in programs
        for path, value in re.findall(r'\.([a-z_.]+)|=="([\w-]+)"', program)
        for word in (path.split(".") if path else [value])
    } - {(name, "ADDRESS") for name, _ in programs}
    assert sorted((name, word) for name, word in asked if word not in known) == []
    assert len(programs) > 15


def test_every_block_is_of_a_kind_that_is_tried_somewhere(runbooks: dict[str, str]) -> None:
    """SQL is run (tests/collectors/postgres), `tocsin` is parsed; what begins otherwise is another program's."""
    programs = re.compile(r"\s*(?:jq|curl|journalctl|openssl|for i in|tocsin) ")
    blocks = [piece for name, page in runbooks.items() for piece in typed_on(name, page) if piece.block]
    assert [
        f"{piece.page}: {piece.text}"
        for piece in blocks
        if not programs.match(piece.text) and not list(statements_in(piece))
    ] == []
