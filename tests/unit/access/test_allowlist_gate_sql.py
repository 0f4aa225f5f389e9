"""The sign-up gate in a real Postgres: the shared vectors, the hook's answers, and who may ask."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from sqlalchemy.engine import make_url

from tocsin.access.allowlist import BadAddress, Effect, Fold, Folding, Listed, Replace, Role, Roll, entry_of
from tocsin.access.allowlist.address import parse_address
from tocsin.access.allowlist.gate import gate_sql
from tocsin.state import State
from tocsin.state.allowlist import AllowlistTable
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.supabase import (
    BEFORE_USER_CREATED,
    CUSTOM_ACCESS_TOKEN,
    DEFAULT_SERVICE_KEY,
    FakeAuth,
    PostgresHook,
)

VECTORS = json.loads(Path(__file__).with_name("allowlist_vectors.json").read_text())
DENIAL = {"error": {"http_code": 403, "message": "This address is not on the access list."}}


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """With the roles that a Supabase database has."""
    with EmbeddedPostgres.start() as running:
        running.execute("create role anon", "create role authenticated")
        running.create_role("supabase_auth_admin")
        yield running


@pytest.fixture(scope="module")
def url(postgres: EmbeddedPostgres) -> str:
    made = make_url(f"postgresql://127.0.0.1:{postgres.port}/postgres")
    return made.set(username="postgres", password=postgres.password).render_as_string(hide_password=False)


@pytest.fixture
async def table(url: str, postgres: EmbeddedPostgres) -> Any:
    state = await State.open(url)
    postgres.execute(gate_sql("public", access_token_hook=True))
    table = AllowlistTable(state)
    yield table
    await table.change(Replace(()), "test", datetime.now(UTC), guarded=False)
    await state.close()


@pytest.fixture
def auth(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """As Supabase Auth is connected."""
    with psycopg.connect(postgres.dsn(user="supabase_auth_admin"), autocommit=True) as connection:
        yield connection


def ask(connection: psycopg.Connection[Any], function: str, value: Any) -> Any:
    kind = "jsonb" if isinstance(value, dict) else "text"
    given = json.dumps(value) if isinstance(value, dict) else value
    row = connection.execute(f"select tocsin_gate.{function}(%s::{kind})", [given]).fetchone()
    assert row is not None
    return row[0]


async def fill(table: AllowlistTable, group: dict[str, Any], now: datetime) -> Roll:
    entries = tuple(
        entry_of(
            given["value"],
            now,
            by="test",
            effect=Effect(given.get("effect", "allow")),
            role=Role(given["role"]) if given.get("role") else None,
            expires_at=now + timedelta(seconds=given["expires_in"]) if "expires_in" in given else None,
        )
        for given in group["entries"]
    )
    folding = Folding(**dict.fromkeys(group["folding"], True))
    await table.change(Fold(folding), "test", now, guarded=False)
    await table.change(Replace(entries), "test", now, guarded=False)
    return Roll(Listed(entries=entries, folding=folding))


async def test_postgres_spells_addresses_as_python_does(table: AllowlistTable, auth: psycopg.Connection[Any]) -> None:
    """Every vector. A domain outside ASCII that IDNA forbids is spelled here, and equals nothing that can be listed."""
    found = []
    for case in VECTORS["addresses"]:
        normal = ask(auth, "normalised", case["text"]) if "\0" not in case["text"] else None
        forbidden = case["normal"] is None and not case["text"].rpartition("@")[2].isascii()
        found.append({"text": case["text"], "normal": None if forbidden else normal})
    assert found == VECTORS["addresses"]


async def test_what_is_no_address_is_let_in_by_no_list(table: AllowlistTable, auth: psycopg.Connection[Any]) -> None:
    """Not even by one that names its domain and every sub-domain."""
    names = ("example.com", "*.example.com", "evil.example", "*.evil.example", "ana@example.com")
    await fill(table, {"folding": ["plus", "dots"], "entries": [{"value": name} for name in names]}, datetime.now(UTC))
    bad = [case["text"] for case in VECTORS["addresses"] if case["normal"] is None]
    assert [text for text in bad if ask(auth, "is_allowed", text) is not False] == []


@pytest.mark.parametrize("group", VECTORS["lists"], ids=lambda group: group["name"])
async def test_postgres_rules_as_the_vectors_say(
    table: AllowlistTable, auth: psycopg.Connection[Any], group: dict[str, Any]
) -> None:
    """As Python does: see test_allowlist_vectors_python.py."""
    await fill(table, group, datetime.now(UTC))
    found = {case["text"]: ask(auth, "is_allowed", case["text"]) for case in group["cases"]}
    assert found == {case["text"]: case["allowed"] for case in group["cases"]}


async def test_both_agree_on_addresses_nobody_thought_of(table: AllowlistTable, auth: psycopg.Connection[Any]) -> None:
    """1,200 made of the pieces that spellings differ by, against each list; the seed is fixed."""
    pieces = [
        *"abAB.@@+-_*%'=😀éÉßⅰ。．ａ\u200b\u00ad\t\n ", "example.com", "bücher", "xn--bcher-kva", ".example", "ana",
        "gmail.com", "team.example", "x.corp.example", "bad.corp.example", "дом.рф", "mallory", "good@",
    ]  # fmt: skip
    dice, now = random.Random(20260301), datetime.now(UTC)
    for group in VECTORS["lists"][:4]:
        roll = await fill(table, group, now)
        for _ in range(300):
            text = "".join(dice.choices(pieces, k=dice.randint(1, 5)))
            if dice.random() < 0.7 and "@" not in text:
                text = f"{dice.choice(['ana', 'good', 'bob', 'a.b+c'])}@{text}"
            assert (text, ask(auth, "is_allowed", text)) == (text, roll.ruling(text, now).allowed)


async def test_labels_are_coded_as_rfc_3492_wants(table: AllowlistTable, auth: psycopg.Connection[Any]) -> None:
    """Python's own codec, over labels of many scripts and lengths."""
    dice = random.Random(3492)
    alphabet = "abc-0é ßжあ漢字א한😀\U0010ffff".replace(" ", "")
    labels = {"".join(dice.choices(alphabet, k=dice.randint(1, 30))) for _ in range(300)}
    wrong = []
    for label in labels:
        expected = label if label.isascii() else "xn--" + label.encode("punycode").decode()
        if ask(auth, "a_label", label) != expected:
            wrong.append(label)
    assert wrong == []


async def test_a_sign_up_that_is_listed_goes_on(table: AllowlistTable, auth: psycopg.Connection[Any]) -> None:
    """The hook answers an empty object."""
    await fill(table, {"folding": [], "entries": [{"value": "example.com"}]}, datetime.now(UTC))
    assert ask(auth, "before_user_created", {"metadata": {}, "user": {"email": "ana@example.com"}}) == {}


@pytest.mark.parametrize(
    "event",
    [{"user": {"email": "eve@evil.example"}}, {"user": {"email": ""}}, {"user": {"email": None}}, {"user": {}}, {}],
)
async def test_every_other_sign_up_is_denied_in_words(
    table: AllowlistTable, auth: psycopg.Connection[Any], event: dict[str, Any]
) -> None:
    """Phone and anonymous ones too. An empty message, or null, would be taken for a yes."""
    await fill(table, {"folding": [], "entries": [{"value": "example.com"}]}, datetime.now(UTC))
    assert ask(auth, "before_user_created", event) == DENIAL


async def test_the_token_hook_hands_the_claims_back(table: AllowlistTable, auth: psycopg.Connection[Any]) -> None:
    """Unchanged for who is listed; an error for who no longer is."""
    await fill(table, {"folding": [], "entries": [{"value": "ana@example.com"}]}, datetime.now(UTC))
    claims = {"email": "ana@example.com", "role": "authenticated", "app_metadata": {"n": 1}}
    assert ask(auth, "custom_access_token", {"user_id": "x", "claims": claims}) == {"claims": claims}
    assert ask(auth, "custom_access_token", {"claims": {**claims, "email": "eve@evil.example"}}) == DENIAL


class Client:
    """Somebody who signs up and in at a stand-in Auth that calls the gate in Postgres."""

    def __init__(self, auth: FakeAuth, http: aiohttp.ClientSession) -> None:
        self.auth, self._http = auth, http

    async def post(self, path: str, body: dict[str, Any], key: str = "") -> tuple[int, Any]:
        headers = {"apikey": key or self.auth.api_key}
        async with self._http.post(self.auth.url + path, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def sign_up(self, email: str) -> tuple[int, Any]:
        return await self.post("/signup", {"email": email, "password": "correct horse"})

    async def sign_in(self, email: str) -> tuple[int, Any]:
        return await self.post("/token?grant_type=password", {"email": email, "password": "correct horse"})


@pytest.fixture
async def client(table: AllowlistTable, postgres: EmbeddedPostgres) -> AsyncIterator[Client]:
    """Both hooks are on; addresses are confirmed at once, so that the tests need no mail."""
    dsn = postgres.dsn(user="supabase_auth_admin")
    hooks = {
        BEFORE_USER_CREATED: PostgresHook(dsn, "tocsin_gate.before_user_created"),
        CUSTOM_ACCESS_TOKEN: PostgresHook(dsn, "tocsin_gate.custom_access_token"),
    }
    async with FakeAuth(autoconfirm=True, hooks=hooks) as auth, aiohttp.ClientSession() as http:
        yield Client(auth, http)


async def test_auth_lets_sign_up_whom_the_list_has(table: AllowlistTable, client: Client) -> None:
    """By sign-up, a code, an invitation; the others are told in words, and no user is made."""
    await fill(table, {"folding": [], "entries": [{"value": "example.com"}]}, datetime.now(UTC))
    secret = DEFAULT_SERVICE_KEY
    listed = [
        await client.sign_up("Ana@Example.com"),
        await client.post("/otp", {"email": "bo@example.com"}),
        await client.post("/invite", {"email": "cy@example.com"}, secret),
    ]
    others = [
        await client.sign_up("eve@evil.example"),
        await client.post("/otp", {"email": "eve@evil.example"}),
        await client.post("/invite", {"email": "eve@evil.example"}, secret),
        await client.post("/admin/generate_link", {"type": "signup", "email": "eve@evil.example"}, secret),
    ]
    said = {(status, body["msg"]) for status, body in others}
    assert ([status for status, _ in listed], said) == ([200] * 3, {(403, DENIAL["error"]["message"])})
    assert client.auth.accounts.by_email("eve@evil.example") is None


async def test_a_user_that_no_sign_up_hook_sees_gets_no_token(table: AllowlistTable, client: Client) -> None:
    """Made by the admin API: the token hook closes that gap."""
    await fill(table, {"folding": [], "entries": [{"value": "example.com"}]}, datetime.now(UTC))
    made = {"email": "eve@evil.example", "password": "correct horse", "email_confirm": True}
    created = (await client.post("/admin/users", made, DEFAULT_SERVICE_KEY))[0]
    assert (created, (await client.sign_in("eve@evil.example"))[0]) == (200, 403)


async def test_who_is_removed_gets_no_next_token(table: AllowlistTable, client: Client) -> None:
    """At the refresh, which is within a token's life."""
    await fill(table, {"folding": [], "entries": [{"value": "example.com"}]}, datetime.now(UTC))
    refresh = (await client.sign_up("ana@example.com"))[1]["refresh_token"]
    asked = {"refresh_token": refresh}
    status, body = await client.post("/token?grant_type=refresh_token", asked)
    await fill(table, {"folding": [], "entries": []}, datetime.now(UTC))
    after = await client.post("/token?grant_type=refresh_token", {"refresh_token": body["refresh_token"]})
    assert (status, after[0]) == (200, 403)


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_nobody_else_may_ask(table: AllowlistTable, postgres: EmbeddedPostgres, role: str) -> None:
    """Who can ask may list the list."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"set role {role}")
        for function in ("is_allowed", "normalised", "before_user_created"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ask(connection, function, {} if function == "before_user_created" else "ana@example.com")


async def test_auth_may_read_the_list_and_change_nothing(table: AllowlistTable, auth: psycopg.Connection[Any]) -> None:
    """A hole in Auth adds nobody."""
    await fill(table, {"folding": [], "entries": [{"value": "example.com"}]}, datetime.now(UTC))
    assert auth.execute("select value from allowlist").fetchall() == [("example.com",)]
    for statement in ("delete from allowlist", "select * from allowlist_audit", "select * from service_tokens"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            auth.execute(statement)


async def test_the_gate_may_be_installed_again(table: AllowlistTable, postgres: EmbeddedPostgres) -> None:
    """An upgrade is the same command."""
    postgres.execute(gate_sql("public"))


async def test_a_list_of_three_thousand_answers_well_within_auths_two_seconds(
    table: AllowlistTable, auth: psycopg.Connection[Any]
) -> None:
    """With folding, which no index serves: by Postgres' own limit, and not by a clock of ours."""
    entries = [{"value": f"user{n}+tag@example.com"} for n in range(3000)]
    await fill(table, {"folding": ["plus"], "entries": entries}, datetime.now(UTC))
    auth.execute("set statement_timeout = '2s'")
    assert [ask(auth, "is_allowed", f"user{n}@example.com") for n in (2999, 3000)] == [True, False]


@pytest.mark.parametrize("name", ['x"; drop table allowlist; --', "", "a b", "x" * 64])
def test_a_schema_that_is_no_plain_name_is_refused(name: str) -> None:
    """It would become part of the statements."""
    with pytest.raises(ValueError, match="schema's name"):
        gate_sql(name)


def test_python_refuses_what_postgres_spells_though_idna_forbids_it() -> None:
    """The one difference in spelling there is, and why it is none in ruling."""
    with pytest.raises(BadAddress):
        parse_address("ana@☃.example")
