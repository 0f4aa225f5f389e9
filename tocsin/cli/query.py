"""`tocsin query`: PromQL against the running daemon, or a store's files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tocsin.cli import FINDING, UNUSABLE
from tocsin.cli.options import DURATION, TIME, config_option, json_option, load
from tocsin.cli.output import clock, print_json, print_table
from tocsin.cli.store import now

if TYPE_CHECKING:
    from tocsin.promql import Plan, Result

_POINTS: Final = 60
"""Steps of a range without --step."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 40

Data = Mapping[str, Any]
"""The API's `data`: resultType and result."""


@click.command(short_help="PromQL against the running daemon or a store's files.")
@click.argument("expr")
@click.option("--at", type=TIME, help="The instant, or a range's end. Default: now (--store: the newest sample).")
@click.option("--range", "span", type=DURATION, help="Evaluate over this long before --at, e.g. 1h.")
@click.option("--step", type=DURATION, help=f"Of a range. Default: a {_POINTS}th of it, 1s at least.")
@click.option("--url", envvar="TOCSIN_URL", show_envvar=True, help="The daemon's address. Default: web.listen.")
@click.option("--token", envvar="TOCSIN_TOKEN", show_envvar=True, help="A service token with the scope query:read.")
@click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), help="Read this folder instead; a daemon may use it."
)
@json_option
@config_option
def query(
    expr: str, at: datetime | None, span: timedelta | None, step: timedelta | None, url: str | None, token: str | None,
    store: Path | None, as_json: bool, config: Path,
) -> None:  # fmt: skip
    """Evaluate EXPR and show the result. Times are UTC. --json prints what the HTTP API calls `data`.

    \b
    Examples:
      tocsin query 'tocsin_collector_up == 0'
      tocsin query 'rate(http_requests_total[5m])' --range 1h --step 1m
      tocsin query 'sum(pg_stat_activity_count)' --at 2026-07-01T12:00:00Z --store tocsin-series
    """
    if step is not None and span is None:
        raise click.UsageError("--step goes with --range")
    if any(length is not None and length <= timedelta(0) for length in (span, step)):
        raise click.UsageError("--range and --step must be above 0")
    if span is not None and step is None:
        step = max(timedelta(seconds=round(span.total_seconds() / _POINTS)), timedelta(seconds=1))
    plan = _plan(expr)
    if store is not None:
        data, notes = _from_files(plan, store, at, span, step)
    else:
        data, notes = _from_daemon(expr, url or _address(config), token or "", at or now(), span, step)
    for note in notes:
        click.echo(note, err=True)
    if as_json:
        print_json(data)
    else:
        _show(data)


def _plan(expr: str) -> Plan:
    """Exits 2 with a caret under what is wrong."""
    from tocsin.errors import PromQLError
    from tocsin.promql import compile_expr

    try:
        return compile_expr(expr)
    except PromQLError as error:
        click.echo(f"tocsin: {error}", err=True)
        if error.position is not None:
            before = expr[: error.position]
            line = expr.split("\n")[before.count("\n")]
            column = len(before) - (before.rfind("\n") + 1)
            click.echo(f"  {line}\n  {' ' * column}^", err=True)
        sys.exit(UNUSABLE)


# Where it is asked ---------------------------------------------------------------------------------------------------


def _from_files(
    plan: Plan, folder: Path, at: datetime | None, span: timedelta | None, step: timedelta | None
) -> tuple[Data, list[str]]:
    import orjson

    from tocsin.promql import Round, evaluate_range
    from tocsin.series.layered import read_store
    from tocsin.web.prometheus import encoding

    store = read_store(folder)
    end = at or store.newest or now()
    result: Result
    if span is None:
        result = Round(store, end).evaluate(plan)
    else:
        assert step is not None
        result = evaluate_range(plan, store, end - span, end, step)
    data = orjson.loads(b"".join(encoding.result(result)))
    notes = [*store.recovery.damage, *result.annotations.warnings, *result.annotations.infos]
    if at is None:
        notes.insert(0, f"as of the newest sample, {clock(end)}")
    return data, notes


def _address(config: Path) -> str:
    """Where the configured daemon is reached from here. Exits 2 where that can't be told."""
    host, port = load(config).web.address
    if not port:
        click.echo("tocsin: web.listen leaves the port open; name the daemon: --url http://127.0.0.1:PORT", err=True)
        sys.exit(UNUSABLE)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (where we connect, not bind)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _from_daemon(
    expr: str, url: str, token: str, at: datetime, span: timedelta | None, step: timedelta | None
) -> tuple[Data, list[str]]:
    form = {"query": expr, "time": f"{at.timestamp():.3f}"}
    if span is not None and step is not None:
        form = {
            "query": expr, "start": f"{(at - span).timestamp():.3f}", "end": f"{at.timestamp():.3f}",
            "step": f"{step.total_seconds()}",
        }  # fmt: skip
    answer = _posted(f"{url.rstrip('/')}/api/v1/{'query' if span is None else 'query_range'}", form, token)
    return answer["data"], [*answer.get("warnings", ()), *answer.get("infos", ())]


def _posted(url: str, form: Mapping[str, str], token: str) -> Mapping[str, Any]:
    """The API's answer. Exits 1 or 2 with what it says, or with why there is none."""
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlencode, urlsplit
    from urllib.request import ProxyHandler, Request, build_opener

    import orjson

    if urlsplit(url).scheme not in ("http", "https"):
        raise click.UsageError(f"not an address: {url}; write it like http://127.0.0.1:9475")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = Request(url, urlencode(form).encode(), headers)  # noqa: S310 (the scheme was looked at)
    # A proxy that the environment names is for the world, not for this machine.
    near = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
    opener = build_opener(ProxyHandler({})) if near else build_opener()
    try:
        with opener.open(request, timeout=30) as response:
            return dict(orjson.loads(response.read()))
    except HTTPError as error:
        with error:
            _refused(error.code, error.read())
    except (URLError, OSError) as error:
        why = getattr(error, "reason", error)
        click.echo(
            f"tocsin: no daemon answers at {url} ({why}); start it (tocsin run), name it (--url), or read its files "
            "(--store)", err=True,
        )  # fmt: skip
    except orjson.JSONDecodeError:
        click.echo(f"tocsin: what answers at {url} is no Tocsin; name the daemon: --url", err=True)
    sys.exit(FINDING)


def _refused(status: int, body: bytes) -> None:
    """Say why and exit."""
    import orjson

    if status == 401:
        mend = "tocsin token create --scope query:read, then export TOCSIN_TOKEN=…"
        click.echo(f"tocsin: the daemon wants a token: {mend}", err=True)
        sys.exit(FINDING)
    try:
        said = orjson.loads(body)
        text = said.get("error") or said.get("detail") or ""
    except (orjson.JSONDecodeError, AttributeError):
        said, text = {}, body[:200].decode("utf-8", "replace")
    click.echo(f"tocsin: {text or f'the daemon answers {status}'}", err=True)
    sys.exit(UNUSABLE if said.get("errorType") == "bad_data" else FINDING)


# How it is shown -----------------------------------------------------------------------------------------------------


def _show(data: Data) -> None:
    found = data["result"]
    match data["resultType"]:
        case "scalar" | "string":
            click.echo(found[1])
        case "vector":
            rows = [(_series(each["metric"]), each["value"][1]) for each in found]
            print_table(("series", "value"), rows, empty="no series: the expression is true for nothing at that time")
        case "matrix" if len(found) == 1:
            click.echo(_series(found[0]["metric"]))
            print_table(("time", "value"), [(_time(at), value) for at, value in found[0]["values"]], empty="")
        case _:
            _show_ranges(found)


def _show_ranges(found: list[Mapping[str, Any]]) -> None:
    rows = []
    for each in found:
        values = [float(value) for _, value in each["values"]]
        texts = (f"{number:g}" for number in (min(values), max(values), values[-1]))
        rows.append((_series(each["metric"]), *texts, _sparkline(values)))
    times = [at for each in found for at, _ in each["values"]]
    if times:
        click.echo(f"{_time(min(times))} to {_time(max(times))}")
    empty = "no series: the expression is true for nothing in that time"
    print_table(("series", "min", "max", "last", "trend"), rows, empty=empty)


def _series(labels: Mapping[str, str]) -> str:
    """As PromQL writes it."""
    from tocsin.model import METRIC_NAME, Labels, Series

    return str(Series(name=labels.get(METRIC_NAME, ""), labels=Labels(labels).without(METRIC_NAME))) or "{}"


def _time(at: float) -> str:
    whole = datetime.fromtimestamp(at, UTC)
    return clock(whole) if at == int(at) else f"{whole:%Y-%m-%d %H:%M:%S}.{round(at % 1 * 1000):03d}Z"


def _sparkline(values: list[float]) -> str:
    """The values in at most _WIDTH bars; a gap for what is no number."""
    from math import isfinite

    picked = values if len(values) <= _WIDTH else [values[i * len(values) // _WIDTH] for i in range(_WIDTH)]
    finite = [value for value in picked if isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = high - low
    return "".join(
        " " if not isfinite(value) else _BARS[int((value - low) / span * (len(_BARS) - 1)) if span > 0 else 0]
        for value in picked
    )
