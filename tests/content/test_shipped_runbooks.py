"""The runbooks: a page per alert, with something to do on it, whose links lead somewhere and whose queries mean it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.content.declared import Declared
from tocsin.cli import COMMANDS
from tocsin.promql import compile_expr
from tocsin.rules import AlertRule

SECTIONS = ["What it means", "Check", "Mend", "Escalate"]


def queries_in(page: str) -> list[str]:
    """What a page's `tocsin query …` lines ask, less those that leave the expression to the reader."""
    found = re.findall(r"tocsin query (?:'([^']*)'|([^\s'`]+))", page)
    return [quoted or bare for quoted, bare in found if (quoted or bare) != "EXPR"]


def sections_of(page: str) -> dict[str, str]:
    """The text under each heading of the second level."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_alert_has_its_page_and_every_page_its_alert(
    alerts: tuple[AlertRule, ...], runbooks: dict[str, str]
) -> None:
    """Who is woken finds a page; a page of an alert that is gone misleads."""
    assert sorted({rule.name for rule in alerts}) == sorted(runbooks)


def test_every_page_is_named_after_its_alert(runbooks: dict[str, str]) -> None:
    """Whoever lands on it by search sees that it is the one."""
    assert [name for name, page in runbooks.items() if not page.startswith(f"# {name}\n")] == []


def test_every_page_says_what_it_means_how_to_check_mend_and_escalate(runbooks: dict[str, str]) -> None:
    """Four sections, in this order, none of them empty."""
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


def test_commands_on_the_pages_are_there(runbooks: dict[str, str]) -> None:
    """`tocsin WORD` is a command of this Tocsin."""
    used = {word for page in runbooks.values() for word in re.findall(r"`tocsin ([a-z]+)\b", page)}
    used |= {word for page in runbooks.values() for word in re.findall(r"^tocsin ([a-z]+)\b", page, re.MULTILINE)}
    assert "query" in used
    assert sorted(used - set(COMMANDS)) == []
