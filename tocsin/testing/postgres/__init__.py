"""Embedded Postgres: `EmbeddedPostgres.start()` gives a real server on a free loopback port in about a second."""

from tocsin.testing.postgres.binaries import Binaries, PostgresUnavailable, find_binaries
from tocsin.testing.postgres.cluster import SUPERUSER, PostgresFailed
from tocsin.testing.postgres.server import EmbeddedPostgres

__all__ = ["SUPERUSER", "Binaries", "EmbeddedPostgres", "PostgresFailed", "PostgresUnavailable", "find_binaries"]
