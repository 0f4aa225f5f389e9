"""A server's JSON as results, and what is no result."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from tocsin.errors import EvaluationError
from tocsin.model import Labels, utc
from tocsin.promql import Matrix, Scalar, String, Vector
from tocsin.series.remote.answers import result_of


def body(kind: str, result: Any, **more: Any) -> bytes:
    return orjson.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def test_a_vector_is_read_with_its_odd_numbers() -> None:
    """NaN and the infinities are values."""
    found = [
        {"metric": {"__name__": "up", "job": "a"}, "value": [1000.5, "1.5"]},
        {"metric": {"job": "b"}, "value": [1000.5, "NaN"]},
        {"metric": {}, "value": [1000.5, "+Inf"]},
        {"metric": {"zone": "x"}, "value": [1000.5, "-Inf"]},
    ]
    result = result_of(200, body("vector", found))
    assert isinstance(result, Vector)
    assert [Labels(__name__="up", job="a"), Labels(job="b"), Labels(), Labels(zone="x")] == result.labels
    values = result.values.tolist()
    assert (values[0], values[2], values[3]) == (1.5, math.inf, -math.inf)
    assert math.isnan(values[1])
    assert result.at == utc(1000.5)


def test_an_empty_vector_is_a_result() -> None:
    """ "Nothing matches" is known."""
    result = result_of(200, body("vector", []))
    assert isinstance(result, Vector)
    assert len(result) == 0


def test_scalars_strings_and_matrices_are_read() -> None:
    """Every type that a query may give."""
    scalar = result_of(200, body("scalar", [1000, "3"]))
    string = result_of(200, body("string", [1000, "text"]))
    matrix = result_of(200, body("matrix", [{"metric": {"a": "b"}, "values": [[1, "2"], [1.5, "NaN"]]}]))
    assert isinstance(scalar, Scalar)
    assert isinstance(string, String)
    assert isinstance(matrix, Matrix)
    assert (scalar.value, string.value) == (3.0, "text")
    assert matrix.lines[0].times.tolist() == [1000, 1500]


def test_warnings_come_along() -> None:
    """They are about the result, which stays one."""
    result = result_of(200, body("vector", [], warnings=["careful"], infos=["by the way"]))
    assert isinstance(result, Vector)
    assert (result.annotations.warnings, result.annotations.infos) == (("careful",), ("by the way",))


@pytest.mark.parametrize(
    ("status", "raw", "expected"),
    [
        (422, b'{"status":"error","errorType":"execution","error":"too many samples"}', "execution: too many samples"),
        (200, b'{"status":"error","errorType":"timeout","error":"slow"}', "timeout: slow"),
        (200, b'{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}', "in part"),
        (502, b"<html>Bad Gateway</html>", "HTTP 502"),
        (200, b"", "no JSON"),
        (200, b"[]", "no JSON"),
        (200, b"{}", "HTTP 200"),
        (200, b'{"status":"success"}', "is it a Prometheus API"),
        (
            200,
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}',
            "is it a Prometheus API",
        ),
        (200, b'{"status":"success","data":{"resultType":"new","result":[]}}', "is it a Prometheus API"),
        (
            200,
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"histogram":[1,{}]}]}}',
            "native histograms",
        ),
    ],
)
def test_anything_else_is_unknown_and_says_why(status: int, raw: bytes, expected: str) -> None:
    """Never an empty result: that would resolve alerts."""
    with pytest.raises(EvaluationError, match=expected):
        result_of(status, raw)
