"""`tocsin rules backtest` on a folder that a store has open, as beside a running daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tocsin.cli import cli
from tocsin.model import Labels, Matcher, MatchOp, Sample, Silence, utc
from tocsin.series import Store
from tocsin.series.layered import HEARTBEAT
from tocsin.state import Change, State

START = utc(1_790_000_000)
CONFIG = """rules: [rules.yaml]
routes: [{match: {}, notify: [log], group_by: [service]}]
notifiers: [{kind: console, name: log}]
series: {path: series, retention: 7d}
"""
RULES = """groups:
  - name: web
    rules:
      - record: service:errors:max
        expr: max by (service) (errors)
      - alert: Failing
        expr: service:errors:max > 5
        labels: {severity: P0}
        annotations: {summary: "{{ $labels.service }} fails"}
  - name: other
    rules:
      - {alert: Elsewhere, expr: disk_full == 1, labels: {severity: P1}}
"""
Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: six hours of samples, three outages (two short), half an hour in which nothing ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOCSIN_CONFIG", raising=False)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "rules.yaml").write_text(RULES)
    store = Store.open(tmp_path / "series", retention=7 * 86_400)
    outages = [(3600, 3645), (5400, 5430), (10_800, 12_600)]
    for second in range(0, 6 * 3600, 15):
        if 14_400 <= second < 16_200:
            continue
        at = START + timedelta(seconds=second)
        bad = any(a <= second < b for a, b in outages)
        # Recorded then by rules that were others: a backtest must not believe it.
        store.append(
            [
                Sample(name="errors", labels=Labels(service="api"), value=9.0 if bad else 0.0, at=at),
                Sample(name="service:errors:max", labels=Labels(service="ghost"), value=99.0, at=at),
                Sample(name=HEARTBEAT, labels=Labels(job="web"), value=1.0, at=at),
            ]
        )
        store.flush()
    yield tmp_path
    store.close()


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs `tocsin rules backtest` with these arguments."""
    return lambda *args: CliRunner().invoke(cli, ["rules", "backtest", *args], prog_name="tocsin")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def new_rules(folder: Path, *changes: tuple[str, str]) -> str:
    text = RULES
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "new.yaml").write_text(text)
    return "new.yaml"


def test_pages_of_the_past_are_counted_and_nothing_is_written(run: Run, folder: Path) -> None:
    """Beside an open store; no file is touched or made."""
    before = contents(folder)
    result = run("--since", "6h")
    assert (result.exit_code, contents(folder) == before) == (0, True), result.output
    assert result.output.startswith("3 pages about 3 incidents over 5h59m45s")


def test_what_the_past_lacks_is_said(run: Run) -> None:
    """Retention, gaps, series that a rule reads and nobody stored."""
    output = run("--since", "14d").output
    assert "5h59m45s of the 2w asked for (series.retention is 1w)" in output
    assert "no sample arrived for 30m15s in 1 gaps: nothing is evaluated there" in output
    assert "Elsewhere reads disk_full, of which no sample is stored" in output
    assert "not known of the past" in output


def test_fewer_pages_and_none_missed_exits_0(run: Run, folder: Path) -> None:
    """`for` takes the short ones, which are declared to be noise."""
    name = new_rules(folder, ("> 5", "> 5\n        for: 1m"))
    result = run("--since", "6h", "--rules", name, "--ignore-under", "2m")
    assert result.exit_code == 0
    assert result.output.startswith("3 → 1 pages, 0 incidents missed")
    assert "gone, and over in less than 2m (2)" in result.output


def test_a_missed_incident_exits_1_and_is_named(run: Run, folder: Path) -> None:
    """With its labels and how long it lasted."""
    result = run("--since", "6h", "--rules", new_rules(folder, ("> 5", "> 50")))
    assert (result.exit_code, "3 → 0 pages, 3 incidents missed" in result.output) == (1, True)
    assert 'Failing {service="api"}  30m     1' in result.output


def test_merged_groups_replace_those_of_the_same_name(run: Run, folder: Path) -> None:
    """What the new files don't hold is said without --merge, and kept with it."""
    name = new_rules(folder)
    (folder / name).write_text(RULES[: RULES.index("  - name: other")])
    assert "the new rules lack the groups other" in run("--since", "6h", "--rules", name).output
    result = run("--since", "6h", "--rules", name, "--merge", "--json")
    told = json.loads(result.stdout)
    assert (told["unchanged"], told["missed"], told["only_new"]) == (3, [], [])


def test_json_holds_every_message(run: Run) -> None:
    """And the incidents, the gaps, the notes."""
    told = json.loads(run("--since", "6h", "--json").stdout)
    assert told["current"]["pages_by_severity"] == {"P0": 3, "P1": 0}
    assert [(m["at"], m["action"]) for m in told["current"]["messages"] if m["page"]] == [
        ("2026-09-21T15:13:20Z", "post"),
        ("2026-09-21T15:43:20Z", "post"),
        ("2026-09-21T17:13:20Z", "post"),
    ]
    assert (told["step_seconds"], len(told["gaps"])) == (15.0, 1)


def test_silences_of_that_time_are_applied_and_the_state_stays_as_it_is(run: Run, folder: Path) -> None:
    """Read from the state store; a store that can't be read is said, and the rest goes on."""

    async def silenced() -> None:
        state = await State.open(f"sqlite:///{folder}/tocsin.db")
        matcher = Matcher(name="service", op=MatchOp.EQUAL, value="api")
        silence = Silence(
            id="s-1", matchers=(matcher,), starts_at=START, ends_at=START + timedelta(hours=2), created_by="ana",
            why="deploy",
        )  # fmt: skip
        await state.commit(Change(silences=(silence,)))
        await state.close()

    asyncio.run(silenced())
    before = contents(folder)
    assert run("--since", "6h").output.startswith("1 page about 1 incident")
    assert contents(folder) == before
    (folder / "tocsin.db").write_text("no database")
    output = run("--since", "6h").output
    assert (output.startswith("3 pages"), "silences of that time are not applied" in output) == (True, True)


def test_until_ends_it_earlier(run: Run) -> None:
    """Only the first two outages lie before."""
    until = (START + timedelta(hours=2)).isoformat()
    assert json.loads(run("--since", "2h", "--until", until, "--json").stdout)["current"]["pages"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--store", "absent"), "there is no series store at absent"),
        (("--rules", "absent.yaml"), "absent.yaml"),
        (("--since", "soon"), "not a duration"),
        (("--since", "1h", "--until", "2020-01-01"), "none lies in the time asked for"),
        (("--step", "0s"), "a step must be longer than nothing"),
        (("new.yaml",), "New rules are given with --rules"),
    ],
)
def test_what_cant_be_used_exits_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    """And says which."""
    result = run(*arguments)
    assert (result.exit_code, message in result.output) == (2, True), result.output
