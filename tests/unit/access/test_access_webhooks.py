"""Standard Webhooks: what Supabase Auth signs is taken, rotated secrets included, and nothing else is."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.access.verdicts import Reason
from tocsin.access.webhooks import parse_secrets, sign, verify

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY, OTHER = b"k" * 32, b"o" * 32
BODY = b'{"user":{"email":"ana@example.com"}}'


def text(key: bytes) -> str:
    return f"v1,whsec_{b64encode(key).decode()}"


def headers(signature: str, at: datetime = NOW, id: str = "msg_1") -> list[tuple[str, str]]:
    return [
        ("Webhook-Id", id), ("Webhook-Timestamp", str(int(at.timestamp()))), ("Webhook-Signature", signature)
    ]  # fmt: skip


def reason(given: list[tuple[str, str]], body: bytes = BODY, now: datetime = NOW) -> Reason | None:
    verdict = verify(given, body, [KEY], now)
    return verdict.reason if verdict else None


def test_the_published_example_verifies() -> None:
    """The vector of the specification's reference libraries."""
    (key,) = parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    body, signature = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, body, key) == signature
    assert verify(headers(signature, at, "msg_p5jXN8AQM9LWM0D4loKWxJek"), body, [key], at) is None


@pytest.mark.parametrize("joint", [", ", " ", ",", "  "])
@pytest.mark.parametrize("ours_first", [True, False])
def test_while_a_secret_is_rotated_either_signature_is_enough(joint: str, ours_first: bool) -> None:
    """GoTrue joins them with a comma and a blank, the specification with a blank."""
    both = [sign("msg_1", NOW, BODY, KEY), sign("msg_1", NOW, BODY, OTHER)]
    assert reason(headers(joint.join(both if ours_first else both[::-1]))) is None


def test_while_a_secret_is_rotated_either_secret_is_enough() -> None:
    """On our side too."""
    keys = parse_secrets(f"{text(OTHER)}|{text(KEY)}")
    assert verify(headers(sign("msg_1", NOW, BODY, KEY)), BODY, keys, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(300, None), (301, Reason.EXPIRED), (-300, None), (-301, Reason.FROM_THE_FUTURE)],
)
def test_a_call_is_good_for_five_minutes(seconds: int, expected: Reason | None) -> None:
    """Either way: what is recorded can't be sent again later."""
    at = NOW - timedelta(seconds=seconds)
    assert reason(headers(sign("msg_1", at, BODY, KEY), at)) is expected


@pytest.mark.parametrize(
    "signature",
    ["", "v1,", "v1", "v2,x", "v1a,x", "x" * 10_000, "v1,é", sign("msg_1", NOW, BODY, OTHER),
     sign("msg_2", NOW, BODY, KEY), sign("msg_1", NOW, BODY + b" ", KEY), sign("msg_1", NOW, BODY, KEY)[3:],
     "v2," + sign("msg_1", NOW, BODY, KEY)[3:]],
)  # fmt: skip
def test_another_signature_is_refused(signature: str) -> None:
    """Of another key, id, body or version; or none at all."""
    assert reason(headers(signature)) in (Reason.BAD_SIGNATURE, Reason.NO_CREDENTIAL)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_each_header_is_needed(missing: int) -> None:
    """The id and the time are signed with the body."""
    kept = headers(sign("msg_1", NOW, BODY, KEY))
    del kept[missing]
    assert reason(kept) is Reason.NO_CREDENTIAL


@pytest.mark.parametrize("again", [0, 1, 2])
def test_no_header_may_come_twice(again: int) -> None:
    """Two readers could each take another one."""
    good = headers(sign("msg_1", NOW, BODY, KEY))
    assert reason([*good, good[again]]) is Reason.SEVERAL_CREDENTIALS


@pytest.mark.parametrize("timestamp", ["-1", "1e9", "1_000", " 1", "٣", "9" * 13, "nan"])
def test_a_timestamp_is_digits(timestamp: str) -> None:
    """What int() takes is more than that."""
    found = headers("v1,x")
    found[1] = ("webhook-timestamp", timestamp)
    assert reason(found) is Reason.MALFORMED


@pytest.mark.parametrize(
    "bad", ["", "whsec_", text(b"short"), "v1,whsec_%%%%", text(KEY) + "|", b64encode(KEY).decode()]
)
def test_a_secret_that_is_none_is_refused(bad: str) -> None:
    """A prefix taken for base64 would make a wrong key that signs nothing, and nobody would notice."""
    with pytest.raises(ValueError, match="webhook secret"):
        parse_secrets(bad)


@given(st.lists(st.tuples(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "x"]), st.text())),
       st.binary())  # fmt: skip
def test_no_call_raises(found: list[tuple[str, str]], body: bytes) -> None:
    """Whatever is sent, it is refused and not an error."""
    assert verify(found, body, [KEY], NOW) is not None
