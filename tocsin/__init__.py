"""Tocsin: one daemon that watches a Supabase/Postgres-backed web application and tells the right engineer, once."""

__version__ = "0.1.0"
