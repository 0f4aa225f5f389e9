"""The tables, on SQLite and Postgres alike. `migrations/` creates them; a test holds the two together.

A noun is stored as a JSON document beside the columns that are asked for. Times are microseconds since the epoch.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

HEAD: Final = "0007"
"""The newest migration. A store at this version is opened without importing alembic."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime, kept exactly and in order as microseconds since the epoch."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


Serial: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite counts up only a column declared INTEGER."""

metadata: Final = sa.MetaData()


def _table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(name, metadata, *columns)


def _text(name: str, *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=primary_key, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _at(name: str, *, nullable: bool = False, primary_key: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, Instant, nullable=nullable, primary_key=primary_key)


def _serial(name: str) -> sa.Column[int]:
    return sa.Column(name, Serial, primary_key=True, autoincrement=True)


meta = _table("meta", _text("name", primary_key=True), _text("value"))

alerts = _table(
    "alerts",
    _text("id", primary_key=True),
    _text("rule"),
    _text("name"),
    _text("severity"),
    _text("state"),
    _text("doc"),
)
"""Every pending and firing alert, so that a restart forgets none."""

incidents = _table(
    "incidents",
    _text("id", primary_key=True), _text("route"), _text("state"), _text("severity"),
    _at("opened_at"), _at("updated_at"), _at("resolved_at", nullable=True), _number("revision"), _text("doc"),
    sa.Index("incidents_by_state", "state", "resolved_at"),
    sa.Index("incidents_by_opened", "opened_at"),
)  # fmt: skip

members = _table(
    "members",
    _text("incident", primary_key=True), _text("alert", primary_key=True), _at("joined_at"), _text("state"),
    _text("doc"),
)  # fmt: skip

told = _table(
    "told",
    _text("incident", primary_key=True), _text("notifier", primary_key=True), _text("via"), _flag("ended"),
    _text("doc"),
)  # fmt: skip
"""What each destination knows of each incident."""

notifications = _table(
    "notifications",
    _serial("seq"), sa.Column("id", sa.Text, nullable=False, unique=True),
    _text("incident"), _text("notifier"), _text("action"), _text("severity"), _number("lane"), _text("state"),
    _at("created_at"), _at("not_before"), _number("attempts"), _flag("doubt"),
    _text("claimed_by"), _at("lease_until", nullable=True), _text("failed_over"), _text("last_error"),
    _at("ended_at", nullable=True), _text("doc"),
    sa.Index("notifications_due", "notifier", "state", "lane", "seq"),
    sa.Index("notifications_of_incident", "incident", "notifier", "state"),
    sa.Index("notifications_ended", "ended_at"),
)  # fmt: skip
"""The outbox. `state`: queued, claimed, sent; or why it never will be: withdrawn, superseded, void, failed_over, dead.
`doubt`: it may have been delivered, so it is read back first."""

receipts = _table(
    "receipts",
    _text("notification", primary_key=True), _text("notifier"), _text("incident"), _text("action"), _at("at"),
    _text("destination"), _text("ref"), _text("permalink"), _text("degraded"), _text("extra"),
    sa.Index("receipts_of_incident", "incident", "notifier"),
)  # fmt: skip

decisions = _table(
    "decisions",
    _serial("seq"), _text("incident"), _text("notifier"), _at("at"), _text("action"), _text("reason"), _text("because"),
    _at("until", nullable=True),
    sa.Index("decisions_of_incident", "incident"),
    sa.Index("decisions_at", "at"),
)  # fmt: skip

silences = _table(
    "silences",
    _text("id", primary_key=True), _text("matchers"), _at("starts_at"), _at("ends_at"), _text("created_by"),
    _text("why"),
    sa.Index("silences_ends", "ends_at"),
)  # fmt: skip

hidden = _table(
    "hidden",
    _text("silence", primary_key=True), _text("incident", primary_key=True), _text("notifier", primary_key=True),
    _at("at"), _at("told_at", nullable=True), _text("told_by"),
    sa.Index("hidden_of_incident", "incident"),
)  # fmt: skip
"""What silences kept from which destination, and the notification that told it when they had ended."""

acks = _table(
    "acks", _text("incident", primary_key=True), _at("at", primary_key=True), _text("by"),
)  # fmt: skip

storms = _table("storms", _text("id", primary_key=True), _text("notifier"), _text("doc"))
"""Storm summaries that are not over."""

checkpoints = _table("checkpoints", _text("name", primary_key=True), sa.Column("blob", sa.LargeBinary, nullable=False))
"""Where each collector has read to."""

service_tokens = _table(
    "service_tokens",
    _text("id", primary_key=True), _text("digest"), _text("scopes"), _text("note"), _at("created_at"),
    _at("expires_at", nullable=True), _at("revoked_at", nullable=True), _at("last_used_at", nullable=True),
)  # fmt: skip

allowlist = _table(
    "allowlist",
    _text("value", primary_key=True), _text("kind"), _text("effect"), _text("role"), _text("note"), _text("added_by"),
    _at("added_at"), _at("expires_at", nullable=True), _at("last_seen_at", nullable=True),
)  # fmt: skip
"""Who may come in. A trigger counts `version` up at each change but those of last_seen_at, whoever makes it."""

allowlist_settings = _table("allowlist_settings", _text("name", primary_key=True), _text("value"))
"""`version`, a number; `folding`, some of the words plus and dots."""

allowlist_audit = _table(
    "allowlist_audit",
    _serial("seq"), _at("at"), _text("actor"), _text("action"), _text("value"), _text("before"), _text("after"),
    sa.Index("allowlist_audit_of_value", "value", "seq"),
)  # fmt: skip
"""Append-only: a trigger refuses to change or delete a row."""

console_sessions = _table(
    "console_sessions",
    _text("digest", primary_key=True), sa.Column("id", sa.Text, nullable=False, unique=True), _text("stage"),
    _text("via"), _text("email"), _text("auth_session"), sa.Column("sealed", sa.LargeBinary, nullable=False),
    _number("revision"), _at("created_at"), _at("seen_at"), _at("expires_at"), _text("client"),
)  # fmt: skip
"""Browsers that signed in. Rows are deleted when they end."""

console_links = _table("console_links", _text("digest", primary_key=True), _at("expires_at"))
"""One-time links that nobody used yet."""

leadership = _table(
    "leadership",
    _text("name", primary_key=True), _number("epoch"), _text("holder"), _text("address"), _at("since"), _at("until"),
)  # fmt: skip
"""One row, `leader`: who decides and sends, and until when by Postgres' clock. See state/lease.py."""

fence = _table("fence", _text("name", primary_key=True), _number("epoch"))
"""One row, `leader`: the epoch that may write. Apart from the lease, because every deciding transaction holds it: a
renewal must not wait behind a long one."""

replicas = _table("replicas", _text("name", primary_key=True), _text("address"), _at("seen_at"))
"""The daemons that share the store, by Postgres' clock."""
