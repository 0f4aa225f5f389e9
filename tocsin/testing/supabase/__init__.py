"""A stand-in for Supabase Auth: its HTTP endpoints, its ES256 tokens, and the log lines it writes.

`async with FakeAuth(users=[…], log=path) as auth:` runs it in a test; `python -m tocsin.testing.supabase --port 0
--log auth.jsonl --user ana@example.com=secret` runs it as a process of its own and prints one JSON object with its
addresses. It shares no code with what reads its log or checks its tokens, so that the one can prove the other.

Today: /token (password, refresh_token, pkce), /otp, /verify, /authorize, /factors (enrolled, asked for, answered,
removed), /signup, /logout, /user, /recover, /invite, /admin/users, /admin/generate_link, /admin/audit, /health,
/settings, /.well-known/jwks.json, all under /auth/v1. Users live in memory; with `database=dsn` they are in the schema
`auth` of a real Postgres too. Modules: keys (ES256, rotation), accounts (users, sessions, refresh tokens), ways (codes,
PKCE, second factors), signins, factors and signups (their endpoints), limits (429), hooks (called as the real server
calls them), journal (the log lines of both eras), schema and tables (the same in Postgres), exchange and server (HTTP),
management (the Management API's endpoint for logs, apart).

Source of names, codes and messages: supabase/auth, internal/api and internal/observability.
"""

from tocsin.testing.supabase.accounts import Accounts, Seed, User
from tocsin.testing.supabase.hooks import (
    BEFORE_USER_CREATED,
    CUSTOM_ACCESS_TOKEN,
    PASSWORD_ATTEMPT,
    HttpHook,
    PostgresHook,
)
from tocsin.testing.supabase.journal import Era, Journal
from tocsin.testing.supabase.keys import SigningKeys
from tocsin.testing.supabase.management import FakeManagement, LogFault
from tocsin.testing.supabase.refusals import AuthRefusal
from tocsin.testing.supabase.server import DEFAULT_API_KEY, DEFAULT_SERVICE_KEY, FakeAuth

__all__ = [
    "BEFORE_USER_CREATED",
    "CUSTOM_ACCESS_TOKEN",
    "DEFAULT_API_KEY",
    "DEFAULT_SERVICE_KEY",
    "PASSWORD_ATTEMPT",
    "Accounts",
    "AuthRefusal",
    "Era",
    "FakeAuth",
    "FakeManagement",
    "HttpHook",
    "Journal",
    "LogFault",
    "PostgresHook",
    "Seed",
    "SigningKeys",
    "User",
]
