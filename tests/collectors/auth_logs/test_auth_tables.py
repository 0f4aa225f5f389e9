"""Auth's own tables over SQL: from a sign-in at the stand-in over HTTP to the series and the rule."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from collectors.auth_logs import SPEC
from collectors.auth_logs.declarations import TABLES
from collectors.auth_logs.kept import select
from tocsin.model import AlertState, Sample
from tocsin.rules import load_text
from tocsin.rules.strides import Strides
from tocsin.series import Layered, Store
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.supabase import FakeAuth, Seed

# A type of this folder's conftest, which a test can't import.
Auth = Any
ANA = Seed(email="ana@example.com", password="correct horse")
BO = Seed(email="bo@example.com", password="correct horse", totp="JBSWY3DPEHPK3PXP")
OUT = Seed(email="out@example.com", password="correct horse", banned=True)
NEW = Seed(email="new@example.com", password="correct horse", confirmed=False)
PHONE = ("198.51.100.4", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1")
THIEF = ("203.0.113.7", "python-requests/2.32")


@pytest.fixture(scope="module")
def server(postgres: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    postgres.create_role("looker", options="bypassrls")
    postgres.create_role("hidden")
    postgres.create_role("stranger")
    yield postgres
    postgres.execute("drop role looker, hidden, stranger", "drop database if exists elsewhere")


class Stand:
    """The stand-in with its tables, a client of it, and a collector that reads them."""

    def __init__(self, auth: Auth, supabase: FakeAuth, http: aiohttp.ClientSession, server: EmbeddedPostgres) -> None:
        self.auth, self.supabase, self.server = auth, supabase, server
        self._http = http
        # The database judges by its own clock what is an hour old.
        auth.now = datetime.now(UTC)

    def start(self, role: str = "looker", *, more: dict[str, Any] | None = None, **tables: Any) -> None:
        sql = {"dsn": self.server.dsn(user=role), "query_deadline": 30, "tables": {"interval": 1, **tables}}
        self.auth.start(source={"sql": sql}, interval=60, deadline=60, **(more or {}))

    async def ask(self, path: str, body: object, place: tuple[str, str] = PHONE) -> Any:
        headers = {"apikey": self.supabase.api_key, "X-Forwarded-For": place[0], "User-Agent": place[1]}
        async with self._http.post(self.supabase.url + path, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def sign_in(self, seed: Seed = ANA, place: tuple[str, str] = PHONE) -> str:
        body = {"email": seed.email, "password": seed.password}
        return str((await self.ask("/token?grant_type=password", body, place))["refresh_token"])

    async def refresh(self, token: str, place: tuple[str, str] = PHONE) -> str:
        granted = await self.ask("/token?grant_type=refresh_token", {"refresh_token": token}, place)
        return str(granted["refresh_token"])

    def alter(self, *statements: str) -> None:
        self.server.execute(*statements)


@pytest.fixture
async def stand(server: EmbeddedPostgres, auth: Auth) -> AsyncIterator[Stand]:
    users = (ANA, BO, OUT, NEW)
    async with FakeAuth(users=users, database=server.dsn()) as supabase, aiohttp.ClientSession() as http:
        server.execute(
            *(f"grant usage on schema auth to {role}" for role in ("looker", "hidden")),
            *(f"grant select on all tables in schema auth to {role}" for role in ("looker", "hidden")),
            "grant usage on schema auth to stranger",
        )
        yield Stand(auth, supabase, http, server)
        await auth.collector.close()
    server.execute("drop schema auth cascade")


async def test_who_is_there_and_signed_in(stand: Stand) -> None:
    """A gauge for each state, zero included, and a user is in one state."""
    stand.start()
    await stand.sign_in()
    await stand.sign_in(BO)
    await stand.ask("/otp", {"email": ANA.email, "create_user": False})
    seen = await stand.auth.poll()
    assert seen.blind == []
    users = {sample.labels["state"]: sample.value for sample in seen.of("tocsin_auth_users")}
    assert users == {"confirmed": 2, "unconfirmed": 1, "anonymous": 0, "banned": 1, "deleted": 0}
    for name, labels, expected in (
        ("sessions", {"aal": "aal1"}, 2),
        ("sessions", {"aal": "aal2"}, 0),
        ("sessions_active", {}, 2),
        ("sessions_third_party", {}, 0),
        ("refresh_tokens", {"event": "issued"}, 2),
        ("refresh_tokens", {"event": "revoked"}, 0),
        ("mfa_factors", {"status": "verified", "type": "totp"}, 1),
        ("mfa_factors", {"status": "unverified", "type": "totp"}, 0),
        ("users_with_mfa", {}, 1),
        ("mfa_challenges", {"state": "open"}, 0),
        ("users_created", {"window": "1h"}, 4),
        ("users_signed_in", {"window": "1d"}, 2),
        ("identities", {"provider": "email"}, 4),
        ("one_time_tokens", {"type": "recovery_token"}, 1),
    ):
        assert (name, labels, seen.value(f"tocsin_auth_{name}", **labels)) == (name, labels, expected)


async def test_it_yields_only_what_it_declares(stand: Stand) -> None:
    """By name and by label, or no rule could be checked against the declaration; and all that it declares."""
    declared = {name: set(metric.labels) for metric in SPEC.metrics for name in metric.series_names()}
    stand.start(admins=[ANA.email])
    token = await stand.sign_in()
    await stand.ask("/otp", {"email": ANA.email, "create_user": False})
    await stand.auth.poll()
    await stand.refresh(token, THIEF)
    stand.alter("analyze auth.users")
    seen = await stand.auth.poll()
    assert {metric.name for metric in TABLES} - {sample.name for sample in seen.samples} == set()
    assert [s for s in seen.samples if set(s.labels) - declared[s.name]] == []


async def test_a_session_that_goes_on_elsewhere_is_counted_once(stand: Stand, tmp_path: Path) -> None:
    """Over polls and restarts; by hashed user, and in clear among the events that are kept."""
    stand.start(more={"events": {"keep": "1d"}})
    token = await stand.sign_in()
    await stand.sign_in(BO)
    seen = await stand.auth.poll()
    assert {s.labels["changed"]: s.value for s in seen.of("tocsin_auth_session_changes_total")} == {
        "address": 0, "agent": 0, "both": 0,
    }  # fmt: skip
    assert seen.of("tocsin_auth_session_moves_total") == []
    token = await stand.refresh(token, ("198.51.100.99", PHONE[1]))  # it roams
    seen = await stand.auth.poll()
    assert seen.value("tocsin_auth_session_changes_total", changed="address") == 1
    assert seen.of("tocsin_auth_session_moves_total") == []
    token = await stand.refresh(token, THIEF)
    seen = await stand.auth.poll()
    (moved,) = seen.of("tocsin_auth_session_moves_total")
    assert (moved.value, seen.value("tocsin_auth_session_changes_total", changed="both")) == (1, 1)
    zeros = [s for s in seen.samples if s.name == moved.name and s.value == 0]
    assert [s.at for s in zeros] == [stand.auth.now - timedelta(seconds=10)], "or increase() would not see the first"
    await stand.auth.collector.close()
    stand.start(more={"events": {"keep": "1d"}})
    await stand.refresh(token, THIEF)
    seen = await stand.auth.poll()
    assert (moved.labels, seen.value(moved.name)) == (seen.of(moved.name)[0].labels, 1)
    kept = select(tmp_path / "auth-events", stand.auth.collector._log[1].salt, since=stand.auth.now - timedelta(days=1))
    (told,) = [told for told in kept if told.what == "session_moved (both)"]
    assert (told.address, told.line["user_agent"]) == THIEF
    assert moved.labels["user"] in told.names


async def test_from_the_sign_in_over_http_to_the_rule(stand: Stand, root: Path) -> None:
    """A stolen refresh token fires AuthSessionMoved once for its user; a phone that roams fires nothing."""
    stand.start()
    store, begin = Store(retention=1e9), stand.auth.now

    async def poll() -> None:
        samples = (await stand.auth.poll(after=30)).samples
        store.append([
            Sample(name=s.name, labels=s.labels.with_(job="auth-db"), value=s.value, at=s.at, created=s.created)
            for s in samples
        ])  # fmt: skip

    stolen, roaming = await stand.sign_in(), await stand.sign_in(BO)
    await poll()
    roaming = await stand.refresh(roaming, ("198.51.100.77", PHONE[1].replace("17.5", "17.6")))
    await poll()
    stolen = await stand.refresh(stolen, THIEF)
    await poll()
    await stand.refresh(stolen, THIEF)
    await stand.refresh(roaming, ("192.0.2.9", PHONE[1]))
    await poll()
    file = root / "alert_rules" / "auth_sessions.yaml"
    groups = load_text(file.read_text(), str(file))
    fired = [
        change.alert
        for stretch in Strides(groups, Layered(store, set()), 30.0).over(begin, stand.auth.now)
        for change in stretch.transitions
        if change.alert.state is AlertState.FIRING
    ]
    assert [alert.name for alert in fired] == ["AuthSessionMoved"]
    assert fired[0].labels["user"].startswith("user-")


async def test_a_session_that_moved_while_nobody_looked_is_found(stand: Stand) -> None:
    """The memory outlives the daemon."""
    stand.start()
    token = await stand.sign_in()
    await stand.auth.poll()
    await stand.auth.collector.close()
    await stand.refresh(token, THIEF)
    stand.start()
    assert (await stand.auth.poll(after=3600)).value("tocsin_auth_session_moves_total") == 1


async def test_more_sessions_than_a_page(stand: Stand) -> None:
    """Read to the end, in bounded reads."""
    stand.start(include=["sessions"])
    await stand.auth.poll()
    stand.alter(
        """insert into auth.sessions (id, user_id, created_at, ip, user_agent)
           select gen_random_uuid(), (select id from auth.users limit 1), now(), '198.51.100.4', 'okhttp/4'
           from generate_series(1, 2100)"""
    )
    await stand.auth.poll()
    stand.alter(
        """update auth.sessions set refreshed_at = now() at time zone 'UTC' + interval '1 second', ip = '203.0.113.9',
           user_agent = 'curl/8'"""
    )
    seen = await stand.auth.poll()
    assert seen.value("tocsin_auth_session_changes_total", changed="both") == 2100
    assert seen.value("tocsin_auth_session_moves_total") == 2100


async def test_an_administrator_without_a_second_factor_shows(stand: Stand) -> None:
    """By hashed user; an address that nobody has is nobody."""
    stand.start(admins=["Ana@example.com", BO.email, "nobody@example.com"])
    seen = await stand.auth.poll()
    assert sorted(sample.value for sample in seen.of("tocsin_auth_admin_has_mfa")) == [0, 1]
    (without,) = [s for s in seen.of("tocsin_auth_admin_has_mfa") if s.value == 0]
    assert without.labels["user"].startswith("user-")


async def test_hidden_rows_are_unknown_and_not_none(stand: Stand) -> None:
    """Row security answers with nothing and no error: blind for each table, with the statement, which works."""
    await stand.sign_in()
    stand.start("hidden", include=["users", "sessions"])
    seen = await stand.auth.poll()
    assert [sample for sample in seen.samples if sample.name.startswith(("tocsin_auth_users", "tocsin_auth_ses"))] == []
    assert any("row security hides its rows of auth.users" in why for why in seen.blind)
    assert any('ON auth.sessions FOR SELECT TO "hidden" USING (true)' in why for why in seen.blind)
    stand.alter("create policy tocsin_reads on auth.users for select to hidden using (true)")
    stand.alter("create policy tocsin_reads on auth.sessions for select to hidden using (true)")
    seen = await stand.auth.poll()
    assert (seen.value("tocsin_auth_users"), seen.value("tocsin_auth_sessions")) == (4, 1)


async def test_a_policy_that_shows_a_part_is_seen_through(stand: Stand) -> None:
    """Far fewer rows than Postgres knows of: unknown, and not few."""
    stand.alter(
        """insert into auth.users (id, email, created_at)
           select gen_random_uuid(), n || '@example.com', now() from generate_series(1, 300) n""",
        "analyze auth.users",
        "create policy own on auth.users for select to hidden using (email = 'ana@example.com')",
    )
    stand.start("hidden", include=["users"])
    seen = await stand.auth.poll()
    assert any("row security shows 1 of about 304 rows of auth.users" in why for why in seen.blind)
    assert seen.of("tocsin_auth_users") == []


async def test_rights_on_the_needed_columns_are_enough(stand: Stand) -> None:
    """No password, token or secret need be readable; without them the grant is named, and works."""
    stand.alter("alter role stranger bypassrls")
    stand.start("stranger")
    seen = await stand.auth.poll()
    grants = [why.partition("as postgres: ")[2] for why in seen.blind if "GRANT SELECT (" in why]
    assert len(grants) == 8
    for _ in range(3):  # once a table may be read, what is missing of the next shows
        for grant in grants:
            stand.alter(grant)
        seen = await stand.auth.poll()
        grants = [why.partition("as postgres: ")[2] for why in seen.blind if "GRANT SELECT (" in why]
    assert (grants, seen.value("tocsin_auth_users"), seen.value("tocsin_auth_sessions")) == ([], 4, 0)
    with psycopg.connect(stand.server.dsn(user="stranger"), autocommit=True) as connection:
        for secret in ("encrypted_password from auth.users", "token from auth.refresh_tokens"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select {secret}".encode())
    stand.alter("alter role stranger nobypassrls")


async def test_the_shipped_role_sees_all_that_is_asked_for(stand: Stand, root: Path) -> None:
    """deploy/auth-role.sql grants what is wanted, and nothing that is secret."""
    text = (root / "deploy" / "auth-role.sql").read_text()
    grants = [part for part in text.replace("\n  on", " on").split(";\n") if part.startswith("grant")]
    assert len(grants) == 9
    stand.server.create_role("tocsin_auth", options="bypassrls")
    stand.alter(*grants)
    stand.start("tocsin_auth", admins=[ANA.email])
    await stand.sign_in()
    seen = await stand.auth.poll()
    assert (seen.blind, seen.value("tocsin_auth_sessions"), seen.value("tocsin_auth_users")) == ([], 1, 4)
    with psycopg.connect(stand.server.dsn(user="tocsin_auth"), autocommit=True) as connection:
        for secret in ("encrypted_password from auth.users", "secret from auth.mfa_factors"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select {secret}".encode())
    stand.alter("drop owned by tocsin_auth", "drop role tocsin_auth")


async def test_an_old_auth_is_read_as_far_as_it_goes(stand: Stand) -> None:
    """Columns and tables that it lacks: what follows from that is told, the rest is blind with the reason."""
    stand.alter(
        "alter table auth.sessions drop aal, drop not_after, drop refreshed_at, drop ip, drop user_agent, "
        "drop oauth_client_id",
        "alter table auth.users drop banned_until, drop deleted_at, drop is_anonymous",
        "drop table auth.one_time_tokens",
        "insert into auth.sessions (id, user_id, created_at) select gen_random_uuid(), id, now() from auth.users",
    )
    stand.start()
    seen = await stand.auth.poll()
    assert (seen.value("tocsin_auth_sessions", aal="aal1"), seen.value("tocsin_auth_users", state="banned")) == (4, 0)
    assert (seen.of("tocsin_auth_sessions_active"), seen.of("tocsin_auth_session_changes_total")) == ([], [])
    assert any("auth.sessions has no column refreshed_at" in why for why in seen.blind)
    assert any("auth.sessions has no column ip, refreshed_at, user_agent" in why for why in seen.blind)
    assert any("there is no table auth.one_time_tokens" in why for why in seen.blind)


async def test_another_database_and_none(stand: Stand) -> None:
    """Told apart; the collector lives on."""
    stand.server.execute("create database elsewhere")
    stand.auth.start(source={"sql": {"dsn": stand.server.dsn("elsewhere", "looker")}})
    assert any("must lead to the database of Supabase Auth" in why for why in (await stand.auth.poll()).blind)
    await stand.auth.collector.close()
    stand.auth.start(source={"sql": {"dsn": "host=127.0.0.1 port=1 user=x"}})
    seen = await stand.auth.poll()
    assert any("can't be read" in why for why in seen.blind)
    assert [sample.name for sample in seen.samples] == ["tocsin_auth_log_up"]


async def test_a_table_that_takes_too_long_is_left_in_peace(stand: Stand) -> None:
    """Blind with the way out, asked again after ten intervals; the other tables are told meanwhile."""
    stand.alter(
        "alter table auth.identities rename to kept",
        "create view auth.identities as select provider from auth.kept, pg_sleep(30)",
        "grant select on auth.identities to looker",
    )
    tables = {"include": ["identities", "users"]}
    sql = {"dsn": stand.server.dsn(user="looker"), "query_deadline": 2, "tables": tables}
    stand.auth.start(source={"sql": sql}, interval=60, deadline=60)
    seen = await stand.auth.poll()
    assert any("reading auth.identities took longer than 2s" in why for why in seen.blind)
    stand.alter("create or replace view auth.identities as select provider from auth.kept")
    seen = await stand.auth.poll(after=300)
    assert (len(seen.blind), seen.value("tocsin_auth_users")) == (1, 4)
    seen = await stand.auth.poll(after=301)
    assert (seen.blind, seen.value("tocsin_auth_identities")) == ([], 4)


async def test_nothing_of_it_without_tables(stand: Stand) -> None:
    """`include: []` reads the audit table alone."""
    stand.start(include=[], more={"start": "beginning"})
    await stand.sign_in()
    seen = await stand.auth.poll()
    assert (seen.value("tocsin_auth_audit_events_total", action="login"), seen.blind) == (1, [])
    assert [sample.name for sample in seen.samples if "session" in sample.name] == []
