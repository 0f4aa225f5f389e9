"""`tocsin allowlist` end to end on a state store of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from tocsin.testing.empty_store import empty_store
from tocsin.testing.postgres import EmbeddedPostgres

Run = Callable[..., Result]


def values(run: Run) -> list[str]:
    return [entry["value"] for entry in json.loads(run("allowlist", "list", "--json").output)]


@pytest.fixture
def admin(run: Run, folder: Path) -> Run:
    """A list with one admin."""
    (folder / "tocsin.db").write_bytes(empty_store())
    assert run("allowlist", "add", "ana@example.com", "--role", "admin", "--by", "root").exit_code == 0
    return run


def test_the_first_command_makes_the_store(run: Run) -> None:
    """Who may come in can be said before the daemon ever ran."""
    result = run("allowlist", "add", "Ana@Example.com", "--role", "admin", "--note", "on call", "--by", "root")
    assert (result.exit_code, result.output) == (0, "ana@example.com added\n")
    listed = json.loads(run("allowlist", "list", "--json").output)
    assert [(e["value"], e["role"], e["note"], e["added_by"], e["holds"]) for e in listed] == [
        ("ana@example.com", "admin", "on call", "root", True)
    ]


def test_several_are_added_or_none(admin: Run) -> None:
    """One that is there already refuses all, and says which."""
    result = admin("allowlist", "add", "bob@example.com", "ana@example.com")
    assert (result.exit_code, "ana@example.com on the list already" in result.output) == (1, True)
    assert values(admin) == ["ana@example.com"]
    assert admin("allowlist", "add", "bob@example.com", "example.com", "*.example.com").exit_code == 0
    assert values(admin) == ["*.example.com", "ana@example.com", "bob@example.com", "example.com"]


@pytest.mark.parametrize(
    "given",
    [("com",), ("*.com",), ("a@b@c.example",), ("ana@exam\u200bple.com",), ("example.com", "--role", "admin"),
     ("x@example.com", "--deny", "--role", "viewer"), ("x@example.com", "--until", "2020-01-01"),
     ("x@example.com", "--for", "1d", "--until", "2099-01-01"), ("x@example.com", "X@example.com")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_as_input(admin: Run, given: tuple[str, ...]) -> None:
    """Exit 2, and nothing is added."""
    assert admin("allowlist", "add", *given).exit_code == 2
    assert values(admin) == ["ana@example.com"]


def test_the_last_admin_stays_unless_the_glass_is_broken(admin: Run) -> None:
    """And the audit says that it was."""
    refused = admin("allowlist", "remove", "ana@example.com")
    assert (refused.exit_code, "no lasting admin" in refused.output) == (1, True)
    assert admin("allowlist", "remove", "ana@example.com", "--break-glass", "--by", "root").exit_code == 0
    audit = json.loads(admin("allowlist", "audit", "--json").output)
    assert [(line["action"], line["actor"]) for line in audit] == [("remove!", "cli:root"), ("add", "cli:root")]


def test_an_admin_cant_remove_themself_in_their_own_name(admin: Run) -> None:
    """`--by` with an address is somebody on the list."""
    admin("allowlist", "add", "bob@example.com", "--role", "admin")
    assert admin("allowlist", "remove", "bob@example.com", "--by", "bob@example.com").exit_code == 1
    assert admin("allowlist", "remove", "bob@example.com", "--by", "ana@example.com").exit_code == 0


def test_an_address_is_tested_with_the_reason(admin: Run) -> None:
    """Exit 0 for who comes in, 1 for who stays out."""
    admin("allowlist", "add", "example.com", "--note", "staff")
    admin("allowlist", "add", "eve@example.com", "--deny")
    inside, outside = admin("allowlist", "test", "Bob@Example.com"), admin("allowlist", "test", "eve@example.com")
    assert inside.output.splitlines()[0] == (
        "bob@example.com comes in, to the application, not the console: example.com is allowed (staff)"
    )
    assert outside.output.splitlines() == [
        "eve@example.com stays out: eve@example.com is denied",
        "  deny   eve@example.com  <- decides",
        "  allow  example.com",
    ]
    assert (inside.exit_code, outside.exit_code) == (0, 1)
    found = json.loads(admin("allowlist", "test", "nobody@else.example", "--json").output)
    assert (found["allowed"], found["reason"], found["because"]) == (False, "not_listed", "no entry names it")


def test_an_import_is_a_dry_run_until_it_is_applied(admin: Run, folder: Path) -> None:
    """It shows what would change, then does exactly that."""
    file = folder / "staff.csv"
    file.write_text("value,role,note\nana@example.com,admin,on call\nbob@example.com,viewer,\n")
    admin("allowlist", "add", "old.example")
    shown = admin("allowlist", "import", str(file), "--prune")
    assert values(admin) == ["ana@example.com", "old.example"]
    assert [line for line in shown.output.splitlines() if line[0] in "+-~"] == [
        "+ allow bob@example.com, viewer", "- allow old.example", "~ allow ana@example.com, admin",
    ]  # fmt: skip
    assert "1 added, 1 changed, 1 removed: nothing is done yet" in shown.output
    assert admin("allowlist", "import", str(file), "--prune", "--apply").exit_code == 0
    assert values(admin) == ["ana@example.com", "bob@example.com"]


def test_an_import_that_would_lock_everybody_out_is_refused_already_in_the_dry_run(admin: Run, folder: Path) -> None:
    """What is shown is what would be done."""
    (folder / "staff.csv").write_text("value\nbob@example.com\n")
    result = admin("allowlist", "import", "staff.csv", "--prune")
    assert (result.exit_code, "no lasting admin" in result.output) == (1, True)


def test_a_bad_file_changes_nothing_and_names_its_lines(admin: Run, folder: Path) -> None:
    """Exit 2, as for any input that can't be used."""
    (folder / "bad.csv").write_text("value\nbob@example.com\nbob@\n")
    result = admin("allowlist", "import", "bad.csv", "--apply")
    assert (result.exit_code, result.output.startswith("bad.csv:3: 'bob@'")) == (2, True)
    assert values(admin) == ["ana@example.com"]


def test_what_is_exported_imports_without_a_change(admin: Run, folder: Path) -> None:
    """A note that a spreadsheet would run is guarded on the way."""
    admin("allowlist", "add", "guest@agency.example", "--for", "30d", "--note", "=1+1")
    assert admin("allowlist", "export", "list.csv").exit_code == 0
    assert "'=1+1" in (folder / "list.csv").read_text()
    found = json.loads(admin("allowlist", "import", "list.csv", "--prune", "--json").output)
    assert found == {"applied": False, "added": [], "changed": [], "removed": []}


def test_an_entry_that_ends_stays_listed_as_expired(admin: Run) -> None:
    """Found by what it is; the last admin can't be ended any more than removed."""
    admin("allowlist", "add", "agency.example", "guest.example", "--note", "until the launch")
    assert admin("allowlist", "expire", "agency.example").output == "agency.example changed\n"
    assert admin("allowlist", "expire", "guest.example", "--in", "30d").exit_code == 0
    expired = json.loads(admin("allowlist", "list", "launch", "--expired", "--json").output)
    holding = json.loads(admin("allowlist", "list", "--kind", "domain", "--holding", "--json").output)
    assert ([entry["value"] for entry in expired], [entry["value"] for entry in holding]) == (
        ["agency.example"], ["guest.example"],
    )  # fmt: skip
    assert [admin("allowlist", "expire", name).exit_code for name in ("ana@example.com", "nobody.example")] == [1, 1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(("--role", "admin"), ["ana@example.com"]), (("--role", "none"), ["example.com"]), (("--effect", "deny"), [])],
)
def test_the_list_is_filtered(admin: Run, given: tuple[str, ...], expected: list[str]) -> None:
    """By what the table shows."""
    admin("allowlist", "add", "example.com")
    found = json.loads(admin("allowlist", "list", *given, "--json").output)
    assert [entry["value"] for entry in found] == expected


def test_folding_is_set_and_shown(admin: Run) -> None:
    """Off at first."""
    assert admin("allowlist", "folding").output == "plus tags: kept; dots at Gmail: kept\n"
    admin("allowlist", "folding", "--plus")
    assert json.loads(admin("allowlist", "folding", "--json").output) == {"plus": True, "gmail_dots": False}
    assert admin("allowlist", "test", "ana+x@example.com").exit_code == 0


def test_signing_keys_are_purged_and_the_audit_says_by_whom(admin: Run) -> None:
    """Nobody on the list is touched."""
    result = admin("auth", "purge-keys", "--by", "ana@example.com")
    assert (result.exit_code, result.output.startswith("purged: within 2 s every process")) == (0, True)
    assert [line["action"] for line in json.loads(admin("auth", "purge-keys", "--json").output)] == ["purge"]
    audit = json.loads(admin("allowlist", "audit", "--json").output)
    assert [(line["actor"], line["action"], line["value"]) for line in audit][1] == (
        "ana@example.com", "purge", "signing keys"
    )  # fmt: skip
    assert ("signing keys" in admin("allowlist", "audit").output, values(admin)) == (True, ["ana@example.com"])


def test_an_empty_list_says_how_to_begin(run: Run) -> None:
    """Nobody comes in by default."""
    run("allowlist", "folding")
    assert "nobody comes in; begin with: tocsin allowlist add" in run("allowlist", "list").output


def test_the_hook_needs_postgres(admin: Run) -> None:
    """And it is said what to do."""
    result = admin("allowlist", "install-hook", "--print")
    assert (result.exit_code, "set state.url to the application's database" in result.output) == (1, True)


def test_the_hook_is_installed_in_the_stores_database(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown first, then run; and it answers for the list there."""
    with EmbeddedPostgres.start() as postgres:
        postgres.execute("create schema tocsin")
        url = make_url(f"postgresql://127.0.0.1:{postgres.port}/postgres?options=-csearch_path%3Dtocsin")
        url = url.set(username="postgres", password=postgres.password)
        monkeypatch.setenv("TOCSIN_STATE__URL", url.render_as_string(hide_password=False))
        assert run("state", "migrate").exit_code == 0
        assert run("allowlist", "add", "example.com").exit_code == 0
        elsewhere = run("allowlist", "install-hook", "--apply")
        assert (elsewhere.exit_code, "not the database that Supabase Auth uses" in elsewhere.output) == (1, True)
        postgres.execute("create role supabase_auth_admin")
        shown = run("allowlist", "install-hook", "--print", "--access-token-hook")
        assert '"tocsin".allowlist' in shown.output
        done = run("allowlist", "install-hook", "--apply", "--access-token-hook")
        assert (done.exit_code, "pg-functions://postgres/tocsin_gate/before_user_created" in done.output) == (0, True)
        with psycopg.connect(postgres.dsn()) as connection:
            connection.execute("set role supabase_auth_admin")
            row = connection.execute(
                "select tocsin_gate.is_allowed('ana@example.com'), tocsin_gate.is_allowed('ana@evil.example')"
            ).fetchone()
        # As docs/access.md says it is taken out; and it can be installed again.
        page = (Path(__file__).parents[3] / "docs" / "access.md").read_text()
        taken_out = page[page.index("    drop schema tocsin_gate") : page.index("To try it without a project")]
        postgres.execute("set search_path to tocsin; " + taken_out)
        with psycopg.connect(postgres.dsn()) as connection:
            left = connection.execute(
                "select to_regnamespace('tocsin_gate') is null,"
                " has_table_privilege('supabase_auth_admin', 'tocsin.allowlist', 'select')"
            ).fetchone()
        again = run("allowlist", "install-hook", "--apply")
    assert (row, left, again.exit_code) == ((True, False), (True, False), 0)
