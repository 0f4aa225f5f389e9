"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def text(name: str, *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=primary_key, nullable=False)


def at(name: str, *, nullable: bool = False, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, primary_key=primary_key)


def number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def serial(name: str) -> sa.Column[int]:
    return sa.Column(name, SERIAL, primary_key=True, autoincrement=True)


def upgrade() -> None:
    op.create_table("meta", text("name", primary_key=True), text("value"))
    op.create_table(
        "alerts", text("id", primary_key=True), text("rule"), text("name"), text("severity"), text("state"), text("doc")
    )
    op.create_table(
        "incidents",
        text("id", primary_key=True), text("route"), text("state"), text("severity"),
        at("opened_at"), at("updated_at"), at("resolved_at", nullable=True), number("revision"), text("doc"),
    )  # fmt: skip
    op.create_index("incidents_by_state", "incidents", ["state", "resolved_at"])
    op.create_index("incidents_by_opened", "incidents", ["opened_at"])
    op.create_table(
        "members",
        text("incident", primary_key=True), text("alert", primary_key=True), at("joined_at"), text("state"),
        text("doc"),
    )  # fmt: skip
    op.create_table(
        "told",
        text("incident", primary_key=True), text("notifier", primary_key=True), text("via"), flag("ended"), text("doc"),
    )  # fmt: skip
    _outbox()
    op.create_table(
        "decisions",
        serial("seq"), text("incident"), text("notifier"), at("at"), text("action"), text("reason"), text("because"),
        at("until", nullable=True),
    )  # fmt: skip
    op.create_index("decisions_of_incident", "decisions", ["incident"])
    op.create_index("decisions_at", "decisions", ["at"])
    op.create_table(
        "silences",
        text("id", primary_key=True), text("matchers"), at("starts_at"), at("ends_at"), text("created_by"), text("why"),
    )  # fmt: skip
    op.create_index("silences_ends", "silences", ["ends_at"])
    op.create_table("acks", text("incident", primary_key=True), at("at", primary_key=True), text("by"))
    op.create_table("checkpoints", text("name", primary_key=True), sa.Column("blob", sa.LargeBinary, nullable=False))
    op.create_table(
        "service_tokens",
        text("id", primary_key=True), text("digest"), text("scopes"), text("note"), at("created_at"),
        at("expires_at", nullable=True), at("revoked_at", nullable=True), at("last_used_at", nullable=True),
    )  # fmt: skip


def _outbox() -> None:
    op.create_table(
        "notifications",
        serial("seq"), sa.Column("id", sa.Text, nullable=False, unique=True),
        text("incident"), text("notifier"), text("action"), text("severity"), number("lane"), text("state"),
        at("created_at"), at("not_before"), number("attempts"), flag("doubt"),
        text("claimed_by"), at("lease_until", nullable=True), text("failed_over"), text("last_error"),
        at("ended_at", nullable=True), text("doc"),
    )  # fmt: skip
    op.create_index("notifications_due", "notifications", ["notifier", "state", "lane", "seq"])
    op.create_index("notifications_of_incident", "notifications", ["incident", "notifier", "state"])
    op.create_index("notifications_ended", "notifications", ["ended_at"])
    op.create_table(
        "receipts",
        text("notification", primary_key=True), text("notifier"), text("incident"), text("action"), at("at"),
        text("destination"), text("ref"), text("permalink"), text("degraded"), text("extra"),
    )  # fmt: skip
    op.create_index("receipts_of_incident", "receipts", ["incident", "notifier"])
