"""Log lines: JSON with a constant event, and nothing secret in them."""

import io
import logging

import orjson
import pytest

from tocsin.telemetry.logs import logger, redacted, set_up


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://tocsin:s3cret@db:5432/app", "postgresql://tocsin:***@db:5432/app"),
        ("host=db password=s3cret user=x", "host=db *** user=x"),
        ("token xoxb-1234567890-abcdef failed", "token *** failed"),
        ("POST https://hooks.slack.com/services/T0/B0/s3cret: 404", "POST https://hooks.slack.com/services/*** 404"),
        ("https://discord.com/api/webhooks/1/s3cret?wait=1", "https://discord.com/api/webhooks/***"),
        ("a -----BEGIN RSA PRIVATE KEY-----\nMIIs3cret==\n-----END RSA PRIVATE KEY----- b", "a *** b"),
        (r'"-----BEGIN PRIVATE KEY-----\nMIIs3cret"', '"***"'),
        ("https://example.com/a:b@c", "https://example.com/a:b@c"),
    ],
)
def test_credentials_are_masked_wherever_they_stand(text: str, shown: str) -> None:
    """An exception's text may quote a DSN; the log line doesn't."""
    assert redacted(text) == shown


def test_a_line_is_json_with_its_event_and_fields() -> None:
    """What a log pipeline parses: event, level, timestamp and the fields, one object a line."""
    out = io.StringIO()
    set_up(format="json", stream=out)
    logger().warning("delivery.throttled", destination="C1", retry_after=3)
    line = orjson.loads(out.getvalue())
    assert {"event": "delivery.throttled", "level": "warning", "destination": "C1", "retry_after": 3}.items() <= (
        line.items()
    )


def test_a_text_that_is_no_unicode_is_logged_all_the_same() -> None:
    """As the name of a file that is not UTF-8 is, or a number of more than 64 bits."""
    out = io.StringIO()
    set_up(format="json", stream=out)
    logger().warning("store.odd", path="a\udcff", number=1 << 70)
    line = out.getvalue()
    assert ('"path":"a?"' in line, f'"number":{1 << 70}' in line, line.isascii()) == (True, True, True)


def test_an_exception_is_logged_with_its_stack_and_without_its_secret() -> None:
    """The stack trace stays whole but for credentials."""
    out = io.StringIO()
    set_up(format="json", stream=out)
    try:
        raise ConnectionError("postgresql://app:hunter2@db refused")
    except ConnectionError:
        logger().exception("poll.failed")
    line = orjson.loads(out.getvalue())
    assert "Traceback" in line["exception"]
    assert "hunter2" not in out.getvalue()


def test_other_libraries_lines_have_the_same_form() -> None:
    """A client's own warnings are JSON too. (Not apscheduler's: the scheduler tells of missed polls itself, so it
    silences that logger for the whole process.)"""
    out = io.StringIO()
    set_up(format="json", stream=out)
    logging.getLogger("slack_sdk").warning("retry of %s", "x")
    assert orjson.loads(out.getvalue())["event"] == "retry of x"
