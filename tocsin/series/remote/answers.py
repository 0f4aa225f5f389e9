"""What a Prometheus-compatible server answers, as this engine's results. Anything doubtful is an EvaluationError.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/. VictoriaMetrics adds `isPartial`, set when some of
its storage nodes could not be asked: what is missing then is unknown, not absent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import orjson

from tocsin.errors import EvaluationError
from tocsin.model import Labels, utc
from tocsin.promql import Annotations, Dictionary, Frame, Line, Matrix, Result, Scalar, String, Vector


def result_of(status: int, body: bytes) -> Result:
    """The result in an answer of /api/v1/query or query_range. Raises EvaluationError with what the server said."""
    answer = _document(status, body)
    if answer.get("status") != "success" or status // 100 != 2:
        kind, text = answer.get("errorType", f"HTTP {status}"), answer.get("error", "it gave no reason")
        raise EvaluationError(f"{kind}: {text}")
    if answer.get("isPartial"):
        raise EvaluationError("the server could only answer in part: some of its storage can't be reached")
    notes = Annotations(warnings=_texts(answer.get("warnings")), infos=_texts(answer.get("infos")))
    try:
        data = answer["data"]
        read: Reader = _READERS[data["resultType"]]
        return read(data["result"], notes)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise EvaluationError(
            f"the server's answer can't be read ({type(error).__name__}: {error}): is it a Prometheus API?"
        ) from None


def _document(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        text = body[:200].decode("utf-8", "replace").strip()
        raise EvaluationError(f"HTTP {status}, and no JSON: {text!r}; is the address that of a Prometheus API?")
    return answer


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in found) if isinstance(found, list) else ()


def _vector(found: Sequence[dict[str, Any]], notes: Annotations) -> Vector:
    labels = []
    values = np.zeros(len(found))
    at = utc(0)
    for row, series in enumerate(found):
        _refuse_histogram(series, "value")
        labels.append(Labels(series["metric"]))
        at, values[row] = _point(series["value"])
    return Vector(_frame(labels), values, at, notes)


def _matrix(found: Sequence[dict[str, Any]], notes: Annotations) -> Matrix:
    lines = []
    for series in found:
        _refuse_histogram(series, "values")
        points = series["values"]
        times = np.array([round(float(at) * 1000) for at, _ in points], np.int64)
        values = np.array([float(value) for _, value in points])
        lines.append(Line(labels=Labels(series["metric"]), times=times, values=values))
    return Matrix(lines=tuple(lines), annotations=notes)


def _refuse_histogram(series: dict[str, Any], wanted: str) -> None:
    if wanted not in series and any(key.startswith("histogram") for key in series):
        raise EvaluationError(
            "the result holds native histograms, and an alert needs numbers: use histogram_quantile()"
        )


def _scalar(found: Sequence[Any], notes: Annotations) -> Scalar:
    at, value = _point(found)
    return Scalar(value=value, at=at, annotations=notes)


def _string(found: Sequence[Any], notes: Annotations) -> String:
    return String(value=str(found[1]), at=utc(float(found[0])), annotations=notes)


def _point(pair: Sequence[Any]) -> tuple[datetime, float]:
    # "NaN", "+Inf" and "-Inf" are what float() reads, too.
    at, value = pair
    return utc(float(at)), float(value)


def _frame(labels: Sequence[Labels]) -> Frame:
    dictionary = Dictionary()
    names = sorted({name for each in labels for name in each})
    columns = {name: dictionary.codes([each.get(name, "") for each in labels]) for name in names}
    return Frame(dictionary, columns, len(labels))


Reader = Callable[[Any, Annotations], Result]
_READERS: Final[dict[str, Reader]] = {"vector": _vector, "matrix": _matrix, "scalar": _scalar, "string": _string}
