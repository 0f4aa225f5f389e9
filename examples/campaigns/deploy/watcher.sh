#!/bin/sh
# Run once by Postgres' image, when the data folder is new: the role that Tocsin watches with.
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v password="$TOCSIN_DB_PASSWORD" -f /role.sql
