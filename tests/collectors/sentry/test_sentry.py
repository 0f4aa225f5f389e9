"""The sentry collector: what it makes of envelopes, and what it refuses to."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.sentry import SPEC, SentrySettings
from collectors.sentry.category import names_of
from collectors.sentry.counts import MOST_ENVIRONMENTS, MOST_FINGERPRINTS, Counts
from collectors.sentry.envelope import MOST_EVENT_BYTES, Event, events_of
from collectors.sentry.inlet import SentryInlet
from tocsin.model import Sample
from tocsin.ports import CollectorContext

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
KEY = "0123456789abcdef"
NAMES = names_of({})


def envelope(*items: tuple[dict[str, Any], bytes], head: bytes = b'{"event_id":"e1"}') -> bytes:
    return head + b"".join(b"\n" + json.dumps(header).encode() + b"\n" + payload for header, payload in items)


def event(**fields: Any) -> tuple[dict[str, Any], bytes]:
    payload = json.dumps(fields).encode()
    return {"type": "event", "length": len(payload)}, payload


def raised(kind: str, *frames: tuple[str, str, bool], message: str = "") -> dict[str, Any]:
    stack = [{"module": module, "function": function, "in_app": own} for module, function, own in frames]
    return {"exception": {"values": [{"type": kind, "value": message, "stacktrace": {"frames": stack}}]}}


IN_CART = raised("ValueError", ("shop.web", "call", True), ("shop.cart", "add", True), ("json", "loads", False))


def the_one(body: bytes) -> Event:
    [found] = events_of(body, NAMES)[1]
    return found


def test_an_error_is_named_by_type_and_last_frame_of_the_application() -> None:
    """Not by the library's frame below it, nor by the message, which holds ids and addresses."""
    found = the_one(envelope(event(level="error", environment="live", **IN_CART)))
    assert (found.level, found.environment, found.type, found.where) == (
        "error", "live", "ValueError", "shop.cart:add"
    )  # fmt: skip
    other = raised("ValueError", ("shop.cart", "add", True), message="order 7 of ana@example.com")
    assert the_one(envelope(event(**other))).fingerprint == found.fingerprint
    assert the_one(envelope(event(**raised("KeyError", ("shop.cart", "add", True))))).fingerprint != found.fingerprint


def test_a_fingerprint_of_the_sdks_own_is_taken() -> None:
    """Alone, or added to the default one."""
    alone = [the_one(envelope(event(fingerprint=["timeouts"], **one))) for one in (IN_CART, raised("KeyError"))]
    assert alone[0].fingerprint == alone[1].fingerprint != ""
    added = [the_one(envelope(event(fingerprint=["{{ default }}", "eu"], **one))) for one in (IN_CART, raised("E"))]
    assert added[0].fingerprint != added[1].fingerprint


def test_a_message_is_counted_by_its_level_and_has_no_fingerprint() -> None:
    """A log line is no error; a level that is none is one."""
    found = the_one(envelope(event(level="warning", message="slow")))
    assert (found.level, found.fingerprint, found.environment) == ("warning", "", "production")
    assert the_one(envelope(event(level="loud"))).level == "error"


def test_what_is_no_event_is_left_out() -> None:
    """Transactions, sessions and attachments, with a length or without, before and behind an event."""
    body = envelope(
        ({"type": "session"}, b'{"started":1}'),
        ({"type": "attachment", "length": 11}, b"two\nlines\n\n"),
        event(**IN_CART),
        ({"type": "transaction"}, b"{}"),
    )
    assert [one.type for one in events_of(body, NAMES)[1]] == ["ValueError"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the envelope's header is not JSON"),
        (b"[]", "the envelope's header is not a JSON object"),
        (envelope(({"type": "event", "length": 999}, b"{}")), "says that it is 999 bytes long, and 2 are left"),
        (envelope(({"type": "event", "length": "2"}, b"{}")), "says that it is 2 bytes long"),
        (envelope(({"type": "event", "length": 1}, b"{")), "an event is not JSON"),
        (envelope(*[({"type": "session"}, b"{}")] * 101), "more than 100 items"),
        (envelope(event(**IN_CART), event(**IN_CART)), "more than one event"),
        (envelope(event(x="y" * MOST_EVENT_BYTES)), "an event is larger than the 1 MiB"),
        (b'{"x":"' + b"y" * MOST_EVENT_BYTES, "the envelope's header is longer than any"),
        (b"{}\n" + b"[" * (MOST_EVENT_BYTES + 1), "an item's header is longer than any"),
    ],
)
def test_a_broken_envelope_is_told_what_is_wrong_with_it(body: bytes, why: str) -> None:
    """In the SDK's debug log, where somebody looks for it."""
    with pytest.raises(ValueError, match=why.replace("(", r"\(")):
        events_of(body, NAMES)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(
        st.sampled_from(["exception", "values", "stacktrace", "frames", "in_app", "module", "function", "type",
                         "level", "fingerprint", "environment"]), inner)
), max_leaves=12))  # fmt: skip
def test_no_event_raises_anything_but_value_error(payload: Any) -> None:
    """Whatever shape its fields have; labels are printable and not long."""
    fields = payload if isinstance(payload, dict) else {"exception": payload}
    found = the_one(envelope(event(**fields)))
    assert all(text.isprintable() and len(text) <= 120 for text in (found.type, found.where, found.environment))


def test_series_stay_bounded_whatever_is_sent() -> None:
    """A million fingerprints are 200 series and one; the sums stay true."""
    counts = Counts()
    for number in range(1000):
        one = Event(
            level="error", environment=f"e{number}", category="bug", type="E", where="m:f", fingerprint=f"f{number}"
        )  # fmt: skip
        counts.add((one,), 0.0)
    samples = list(counts.samples(AT, AT))
    by_name = {name: [s.value for s in samples if s.name == name] for name in {s.name for s in samples}}
    assert len(by_name["tocsin_sentry_error_occurrences_total"]) == MOST_FINGERPRINTS + 1
    assert len(by_name["tocsin_sentry_events_total"]) == MOST_ENVIRONMENTS + 1
    assert sum(by_name["tocsin_sentry_error_occurrences_total"]) == sum(by_name["tocsin_sentry_events_total"]) == 1000


class NoCheckpoint:
    async def load(self) -> bytes | None:
        return None

    async def save(self, blob: bytes) -> None:
        raise AssertionError("the sentry collector keeps nothing")


async def test_what_the_inlet_takes_the_next_poll_tells(tmp_path: Path) -> None:
    """As counters that were zero a poll ago, so that the first burst of an error counts; only what is declared."""
    settings = SentrySettings.model_validate({"kind": "sentry", "name": "errors", "project": 1, "key": KEY})
    collector = SPEC.build(settings, CollectorContext(checkpoint=NoCheckpoint(), poke=lambda: None, folder=tmp_path))
    inlet = SentryInlet(settings, tmp_path)
    first = [item async for item in collector.collect(AT)]
    for _ in range(3):
        assert await inlet.take(envelope(event(**IN_CART))) == {"id": "e1"}
    with pytest.raises(ValueError, match="not JSON"):
        await inlet.take(b"nonsense")
    later = AT + timedelta(seconds=5)
    found = [item async for item in collector.collect(later) if isinstance(item, Sample)]
    counted = {(s.name, s.labels.get("outcome", "")): (s.value, s.created) for s in found}
    assert first == []
    assert counted["tocsin_sentry_events_total", ""] == (3, AT)
    assert counted["tocsin_sentry_errors_total", ""] == (3, AT)
    assert counted["tocsin_sentry_error_occurrences_total", ""] == (3, AT)
    assert counted["tocsin_sentry_envelopes_total", "broken"] == (1, AT)
    declared = {metric.name: set(metric.labels) for metric in SPEC.metrics}
    assert {s.name for s in found} == set(declared)
    assert [s for s in found if set(s.labels) != declared[s.name]] == []


def test_a_key_is_compared_whole(tmp_path: Path) -> None:
    """And neither a part of it nor none is one."""
    settings = SentrySettings.model_validate({"kind": "sentry", "name": "errors", "project": 1, "key": KEY})
    inlet = SentryInlet(settings, tmp_path)
    assert [inlet.admits(given) for given in (KEY, KEY[:-1], "", KEY + "\ud800")] == [True, False, False, False]
