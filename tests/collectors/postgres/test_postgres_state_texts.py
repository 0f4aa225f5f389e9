"""Which state an error's text tells of."""

from __future__ import annotations

import pytest

from collectors.postgres.state import State, one_line, refuses_options, state_of

TEXTS = {
    'connection to server at "127.0.0.1", port 5432 failed: Connection refused': State.DOWN,
    'connection to server at "10.0.0.1", port 5432 failed: No route to host': State.DOWN,
    'connection to server on socket "/tmp/.s.PGSQL.5432" failed: No such file or directory': State.DOWN,
    "server closed the connection unexpectedly": State.DOWN,
    "FATAL:  the database system is starting up": State.STARTING,
    "FATAL:  the database system is not yet accepting connections": State.STARTING,
    "FATAL:  the database system is in recovery mode": State.STARTING,
    "FATAL:  the database system is shutting down": State.SHUTTING_DOWN,
    "FATAL:  sorry, too many clients already": State.SATURATED,
    'FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute': State.SATURATED,
    'FATAL:  too many connections for role "watcher"': State.SATURATED,
    "FATAL:  no more connections allowed (max_client_conn)": State.SATURATED,
    'FATAL:  password authentication failed for user "watcher"': State.AUTH_FAILURE,
    'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "w", database "d", no encryption': State.AUTH_FAILURE,
    'FATAL:  role "nobody" does not exist': State.AUTH_FAILURE,
    'FATAL:  database "nowhere" does not exist': State.AUTH_FAILURE,
    "fe_sendauth: no password supplied": State.AUTH_FAILURE,
    "connection timeout expired": State.HANGING,
    "failed to resolve host 'db.example': [Errno -2] Name or service not known": State.UNKNOWN,
    "Verbindung zum Server fehlgeschlagen": State.UNKNOWN,
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_tells_its_state(text: str) -> None:
    """libpq gives connection errors no SQLSTATE, so the text decides; what is not known stays unknown."""
    assert state_of(text) is TEXTS[text]


def test_of_several_addresses_the_most_telling_answer_counts() -> None:
    """localhost is tried as ::1 and 127.0.0.1; one refuses, the other is full."""
    text = "- host ::1: Connection refused\n- host 127.0.0.1: FATAL:  sorry, too many clients already"
    assert state_of(text) is State.SATURATED


def test_a_pooler_that_refuses_settings_is_known() -> None:
    """pgbouncer's words for a startup option that it does not pass on."""
    assert refuses_options("FATAL:  unsupported startup parameter: options")


@pytest.mark.parametrize("text", ["bad dsn postgresql://u:s3cret@h/db", "bad dsn host=h password=s3cret user=u"])
def test_a_password_is_not_echoed(text: str) -> None:
    """An error's text goes to logs and to Slack."""
    assert "s3cret" not in one_line(text)


def test_only_a_server_that_clients_can_use_serves() -> None:
    """A server that is full, or refuses only our password, is not down."""
    assert {state for state in State if state.serves} == {
        State.UP,
        State.IN_RECOVERY,
        State.SATURATED,
        State.AUTH_FAILURE,
    }
