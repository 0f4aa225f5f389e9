"""Remote write's bytes."""

from __future__ import annotations

import struct

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model import STALE, Labels
from tocsin.series.remote.position import Split
from tocsin.series.remote.protobuf import encode_labels, varint, write_request
from tocsin.series.remote.queue import Entry
from tocsin.series.remote.requests import Encoder, body_of, requests_of


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (-1, b"\xff" * 9 + b"\x01")],
)
def test_numbers_are_written_seven_bits_at_a_time(number: int, expected: bytes) -> None:
    """The examples of the protobuf documentation, and a negative one."""
    assert expected == varint(number)


def test_a_request_is_the_bytes_that_protoc_writes() -> None:
    """up{job="a"} 1 at 1000 ms, worked out by hand from the message definitions."""
    labels = b"\x0a\x0e\x0a\x08__name__\x12\x02up" + b"\x0a\x08\x0a\x03job\x12\x01a"
    sample = b"\x12\x0c\x09" + struct.pack("<d", 1.0) + b"\x10\xe8\x07"
    expected = b"\x0a" + bytes([len(labels + sample)]) + labels + sample
    assert expected == write_request([(encode_labels("up", Labels(job="a"), {}), [(1000, 1.0)])])


def test_labels_are_sorted_by_their_bytes_with_the_name_among_them() -> None:
    """Prometheus refuses label sets that are out of order; capitals sort before __name__."""
    raw = encode_labels("m", Labels(Zone="z", a="1"), {})
    assert sorted([b"Zone", b"__name__", b"a"], key=raw.index) == [b"Zone", b"__name__", b"a"]


def test_external_labels_give_way_to_a_series_own() -> None:
    """As Prometheus does for what leaves it."""
    assert encode_labels("m", Labels(env="own", region="eu"), {}) == encode_labels(
        "m", Labels(env="own"), {"env": "other", "region": "eu"}
    )


def test_the_staleness_marker_keeps_its_bits() -> None:
    """Any other NaN would be a value: the series would look alive."""
    assert struct.pack("<Q", 0x7FF0000000000002) in write_request([(b"", [(0, STALE)])])


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 10**12), st.floats(allow_nan=False)), max_size=60),
    st.integers(1, 8),
    st.integers(1, 9),
)
def test_requests_keep_every_sample_and_the_order_within_a_series(
    samples: list[tuple[str, int, float]], shards: int, batch: int
) -> None:
    """Sharding never lets a later sample of a series overtake an earlier one."""
    entries = [Entry("m", Labels(s=name), at, value) for name, at, value in samples]
    encode = Encoder({})
    sent = requests_of(entries, Split(shards=shards, batch=batch), encode)
    for name in "abcdefgh":
        labels = encode("m", Labels(s=name))
        carrying = [requests for requests in sent if any(item.labels == labels for part in requests for item in part)]
        assert len(carrying) <= 1
        got = [item.point for requests in carrying for part in requests for item in part if item.labels == labels]
        assert [(at, value) for each, at, value in samples if each == name] == got
    assert all(1 <= len(part) <= batch for requests in sent for part in requests)


def test_a_body_is_snappy_block_format() -> None:
    """Not the framed one: that begins with a stream identifier."""
    ((request,),) = requests_of([Entry("up", Labels(), 1, 1.0)], Split(shards=1), Encoder({}))
    assert snappy.decompress(body_of(request)) == write_request([(encode_labels("up", {}, {}), [(1, 1.0)])])
