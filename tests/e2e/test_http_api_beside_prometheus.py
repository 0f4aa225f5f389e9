"""The same questions to a real Prometheus and to Tocsin, over the same samples: the same bytes."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import orjson
import pytest

from tests.conformance.live_prometheus import LivePrometheus, Series
from tests.unit.web.conftest import NOW, Port, open_port
from tocsin.model import Labels

END = int(NOW.timestamp() * 1000)
ASKED = END / 1000 - 7.25
"""Between two samples: whether a window's left end belongs to it differs between Prometheus 2 and 3."""
STEP = 15_000
SAMPLES = 120
Question = tuple[str, list[tuple[str, str]]]


def data() -> list[Series]:
    """Counters, gauges of odd magnitudes, a histogram, labels that want escaping."""
    times = END - STEP * np.arange(SAMPLES - 1, -1, -1, dtype=np.int64)
    chance = np.random.default_rng(7)
    odd = np.array([0.0, -0.0, 1e-7, 1.5e21, 123456789.125, 1e16, 5e-324, np.inf, -np.inf, np.nan])
    series: list[Series] = []
    for code in ("200", "404", "500"):
        for instance in ("a:1", "b:2"):
            labels = {"__name__": "http_requests_total", "code": code, "instance": instance, "job": "api"}
            series.append((labels, times, np.cumsum(chance.integers(0, 50, SAMPLES)).astype(np.float64)))
    for index in range(5):
        labels = {"__name__": "gauge", "path": f'/<x>&"\\{index}é', "job": "api" if index % 2 else "web"}
        series.append((labels, times, chance.choice(odd, SAMPLES)))
    for le, share in (("0.1", 5), ("1", 9), ("+Inf", 10)):
        values = np.cumsum(np.full(SAMPLES, share)).astype(np.float64)
        series.append(({"__name__": "seconds_bucket", "le": le, "job": "api"}, times, values))
    series.append(({"__name__": "old", "job": "api"}, times[:40], chance.random(40) * 1e-5))
    return series


def query(expression: str, **more: str) -> Question:
    return "query", [("query", expression), ("time", f"{ASKED:.3f}"), *more.items()]


def span(expression: str, step: str = "60") -> Question:
    bounds = [("start", f"{ASKED - 1200.5:.3f}"), ("end", f"{ASKED:.3f}"), ("step", step)]
    return "query_range", [("query", expression), *bounds]


QUESTIONS: list[Question] = [
    query("1+1"), query("-1/0"), query('"a <b> & c"'), query("time()"), query("vector(1e21)"),
    query("http_requests_total"), query("gauge"), query("old"), query("nope"), query("gauge[1m]"),
    query('sum by (code) (rate(http_requests_total{job="api"}[5m]))'),
    query("histogram_quantile(0.9, sum by (le) (rate(seconds_bucket[5m])))"),
    query("topk(2, http_requests_total)"), query("sort_desc(http_requests_total)"),
    query("http_requests_total / on (code) group_left sum by (code) (http_requests_total)"),
    query('{job="web"}', timeout="5s"),
    query("http_requests_total offset 10m"), query("max_over_time(http_requests_total[10m:30s])"),
    span("http_requests_total", "15s"), span("gauge"), span("rate(http_requests_total[2m])", "1m"), span("1"),
    span("old"), span("sum(http_requests_total) by (instance) > 100"), span("count(up)"),
    ("series", [("match[]", "http_requests_total"), ("match[]", '{job="web"}')]),
    ("series", [("match[]", "nope")]),
    ("labels", []), ("labels", [("match[]", "gauge")]),
    ("label/path/values", []), ("label/code/values", [("match[]", "http_requests_total")]), ("label/nope/values", []),
]  # fmt: skip
REFUSALS: list[Question] = [
    ("query", []), ("query", [("query", "1"), ("time", "x")]), ("query", [("query", "1"), ("timeout", "x")]),
    ("query_range", [("query", "1"), ("start", "2"), ("end", "1"), ("step", "1")]),
    ("query_range", [("query", "1"), ("start", "1"), ("end", "2"), ("step", "0")]),
    ("query_range", [("query", "1"), ("start", "1"), ("end", "2"), ("step", "x")]),
    ("query_range", [("query", "1"), ("start", "0"), ("end", "20000"), ("step", "1")]),
    span("gauge[5m]"), ("series", []), ("series", [("match[]", '{__name__=~".*"}')]),
]  # fmt: skip


@pytest.fixture(scope="module")
def peer(real_peer: Callable[[str], Path]) -> AsyncIterator[LivePrometheus]:
    real_peer("prometheus")
    with LivePrometheus() as running:
        running.write(data())
        yield running  # type: ignore[misc]


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    async with open_port(tmp_path / "state.db") as opened:
        for labels, times, values in data():
            rest = Labels(labels).without("__name__")
            _load(opened, labels["__name__"], rest, times, values)
        yield opened


def _load(port: Port, name: str, labels: Labels, times: np.ndarray, values: np.ndarray) -> None:  # type: ignore[type-arg]
    port.store.load(name, [labels], times.tolist(), values[:, None])


def _asked(url: str, question: Question) -> tuple[int, bytes]:
    path, form = question
    by_get = path.startswith("label/")
    target = f"{url}/api/v1/{path}" + (f"?{urlencode(form)}" if by_get else "")
    try:
        with urllib.request.urlopen(target, None if by_get else urlencode(form).encode(), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def _told(port: Port, question: Question) -> tuple[int, bytes]:
    path, form = question
    if path.startswith("label/"):
        answer = await port.ask("GET", f"/api/v1/{path}?{urlencode(form)}")
    else:
        answer = await port.ask("POST", f"/api/v1/{path}", form=form)
    return answer.status, answer.body


def _sorted(raw: bytes) -> bytes:
    """Vectors and matrices in the order of their labels; what follows the data (our warnings, infos) left out."""
    read = orjson.loads(raw)
    read = {name: read[name] for name in ("status", "data")}
    found = read["data"]
    if isinstance(found, dict) and found["resultType"] in ("vector", "matrix"):
        found["result"].sort(key=orjson.dumps)
    return orjson.dumps(read)


@pytest.mark.peer
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: f"{question[0]}?{urlencode(question[1])[:60]}")
async def test_the_same_answer(peer: LivePrometheus, port: Port, question: Question) -> None:
    """Byte for byte, but for the order of series, which the API leaves open."""
    theirs, ours = await asyncio.to_thread(_asked, peer.url, question), await _told(port, question)
    assert (ours[0], _sorted(ours[1])) == (theirs[0], _sorted(theirs[1]))


@pytest.mark.peer
@pytest.mark.parametrize("question", REFUSALS, ids=lambda question: f"{question[0]}?{urlencode(question[1])[:60]}")
async def test_the_same_refusal(peer: LivePrometheus, port: Port, question: Question) -> None:
    """Code, kind and words."""
    theirs, ours = await asyncio.to_thread(_asked, peer.url, question), await _told(port, question)
    assert (ours[0], orjson.loads(ours[1])) == (theirs[0], orjson.loads(theirs[1]))
