"""tocsin token: a secret is shown once, and what is listed never shows it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tocsin.access.tokens import Scope, is_valid
from tocsin.state import State

from .conftest import Run


def test_a_created_token_is_valid_and_only_its_hash_is_kept(run: Run, folder: Path) -> None:
    """The JSON is the only time that it is shown."""
    made = json.loads(run("token", "create", "--scope", "query:read", "--scope", "metrics:read", "--json").stdout)

    async def stored() -> tuple[bool, frozenset[Scope]]:
        state = await State.open(f"sqlite:///{folder}/tocsin.db", migrate=False)
        row = await state.tokens.get(made["id"])
        await state.close()
        assert row is not None
        return is_valid(made["token"], row, datetime.now(UTC)), row.scopes

    assert asyncio.run(stored()) == (True, {Scope.QUERY_READ, Scope.METRICS_READ})
    assert {*made} == {"id", "token", "scopes", "expires_at"}
    assert made["token"].rpartition("_")[2].encode() not in (folder / "tocsin.db").read_bytes()


def test_the_token_alone_is_on_standard_output(run: Run) -> None:
    """For `TOCSIN_TOKEN=$(tocsin token create …)`."""
    result = run("token", "create", "--scope", "admin")
    assert (len(result.stdout.splitlines()), "It is not shown again" in result.stderr) == (1, True)


def test_a_token_may_expire(run: Run) -> None:
    """A duration from now."""
    made = json.loads(run("token", "create", "--scope", "admin", "--expires-in", "2h", "--json").stdout)
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=58) < left <= timedelta(hours=2)


def test_an_unknown_scope_lists_those_there_are(run: Run) -> None:
    """Exit 2."""
    result = run("token", "create", "--scope", "read")
    assert (result.exit_code, "'metrics:read'" in result.output) == (2, True)


def test_a_revoked_token_is_listed_as_such(run: Run) -> None:
    """It stays in the list, so that a log's id can be looked up."""
    made = json.loads(run("token", "create", "--scope", "admin", "--note", "old", "--json").stdout)
    assert run("token", "revoke", made["id"]).output == f"{made['id']} revoked\n"
    assert run("token", "list").output.splitlines()[1].split() == [made["id"], "revoked", "-", "admin", "old"]


def test_revoking_a_stranger_is_a_finding(run: Run) -> None:
    """Exit 1: whoever revokes wants to be sure."""
    run("token", "create", "--scope", "admin")
    assert run("token", "revoke", "abc").exit_code == 1


def test_a_list_never_shows_a_secret(run: Run) -> None:
    """Neither it nor its hash."""
    token = run("token", "create", "--scope", "admin").stdout.strip()
    listed = run("token", "list", "--json").output + run("token", "list").output
    assert (token.rpartition("_")[2] in listed, "digest" in listed) == (False, False)
