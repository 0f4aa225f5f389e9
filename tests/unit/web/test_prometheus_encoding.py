"""Values, times and strings as Go writes them."""

import re
from datetime import UTC, datetime

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model import Labels
from tocsin.promql import Line, Matrix, Scalar
from tocsin.web.prometheus.encoding import LabelWriter, number, result, rfc3339, string, timestamp
from tocsin.web.prometheus.rules import exponent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (-2.5, "-2.5"), (1e15, "1000000000000000"), (1e16, "10000000000000000"),
        (123456789012345680.0, "123456789012345680"), (1e20, "100000000000000000000"), (1e21, "1e+21"),
        (1.5e300, "1.5e+300"), (1e-6, "0.000001"), (0.00001234, "0.00001234"), (9.99e-7, "9.99e-07"),
        (5e-324, "5e-324"), (-1e-7, "-1e-07"), (0.1, "0.1"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)  # fmt: skip
def test_a_value_is_in_its_shortest_form(value: float, text: str) -> None:
    """Go's FormatFloat with 'f' and -1; 'e' below 1e-6 and from 1e21 on."""
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_value_reads_back(value: float) -> None:
    """Whatever form it takes, it is the same number, with an exponent of two digits at least where there is one."""
    text = number(value)
    assert (float(text), re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d{2,3})?", text) is not None) == (value, True)


@pytest.mark.parametrize(
    ("millis", "text"),
    [(4000, "4"), (1500, "1.500"), (1435781430781, "1435781430.781"), (1005, "1.005"), (0, "0"), (-1, "-0.001")],
)
def test_a_time_has_three_decimals_or_none(millis: int, text: str) -> None:
    """As Prometheus' MarshalTimestamp."""
    assert timestamp(millis) == text


def test_strings_are_escaped_as_go_does() -> None:
    """Also the characters that a browser could take for markup."""
    assert string('<a href="x">&\u2028\n\x01é') == b'"\\u003ca href=\\"x\\"\\u003e\\u0026\\u2028\\n\\u0001\xc3\xa9"'


def test_a_label_that_utf8_cannot_carry_is_still_json() -> None:
    """A log line's broken byte must not break the whole answer."""
    assert LabelWriter().object(Labels(a="\udcff")) == b'{"a":"?"}'


def test_a_scalar_is_a_pair() -> None:
    """`[time, "value"]`"""
    at = datetime(1970, 1, 1, 0, 0, 4, tzinfo=UTC)
    assert b"".join(result(Scalar(value=2.0, at=at))) == b'{"resultType":"scalar","result":[4,"2"]}'


def test_a_long_series_is_written_in_parts_that_join() -> None:
    """Two series of unlike times, one longer than a part."""
    times = np.arange(5000, dtype=np.int64) * 1000
    lines = (
        Line(labels=Labels(a="1"), times=times, values=times / 7),
        Line(labels=Labels(a="2"), times=times[1:3], values=np.array([1.0, float("inf")])),
    )
    read = orjson.loads(b"".join(result(Matrix(lines=lines))))["result"]
    assert [len(series["values"]) for series in read] == [5000, 2]
    assert read[1] == {"metric": {"a": "2"}, "values": [[1, "1"], [2, "+Inf"]]}
    assert [float(value) for _, value in read[0]["values"]] == (times / 7).tolist()


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1e+00"), (0.0, "0e+00"), (12.5, "1.25e+01"), (1e-7, "1e-07"), (1230000.0, "1.23e+06"),
     (float("nan"), "NaN"), (float("inf"), "+Inf"), (0.1 + 0.2, "3.0000000000000004e-01")],
)  # fmt: skip
def test_an_alerts_value_has_an_exponent(value: float, text: str) -> None:
    """Go's FormatFloat with 'e' and -1."""
    assert exponent(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_an_alerts_value_reads_back(value: float) -> None:
    """No digit is lost."""
    assert float(exponent(value)) == value


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "2026-03-01T12:00:00Z"), (500_000, "2026-03-01T12:00:00.5Z"), (1, "2026-03-01T12:00:00.000001Z")],
)
def test_a_time_of_day_has_no_more_digits_than_it_needs(micros: int, text: str) -> None:
    """Go's RFC3339Nano."""
    assert rfc3339(datetime(2026, 3, 1, 12, 0, 0, micros, tzinfo=UTC)) == text
