"""`tocsin check`: whatever is wrong is told at FILE:LINE, before it is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tocsin.config import bundled_path, load_config

Run = Callable[..., Result]


def rule(folder: Path, **changes: str) -> None:
    """Writes rules.yaml with one rule, some of its keys changed; an empty value removes the key."""
    keys = {
        "alert": "Down",
        "expr": "tocsin_endpoint_up == 0",
        "labels": "{severity: P0}",
        "annotations": '{summary: it is down, runbook_url: "https://docs.example/runbooks/Down"}',
        **changes,
    }
    body = "\n            ".join(f"{key}: {value}" for key, value in keys.items() if value)
    (folder / "rules.yaml").write_text(f"groups:\n  - name: web\n    rules:\n          - {body}\n")


def told(result: Result) -> list[str]:
    return [line for line in result.output.splitlines() if not line.startswith("config.yaml: ")]


def test_a_sound_configuration_is_fine(run: Run) -> None:
    """Exit 0, and a line that says what was looked at."""
    result = run("check")
    assert (result.exit_code, result.output) == (
        0,
        "config.yaml: 1 collector, 1 rule, 2 routes, 1 notifier: fine, no warnings\n",
    )


def test_a_broken_configuration_exits_2_with_its_line(run: Run, folder: Path) -> None:
    """The path as it was named."""
    (folder / "config.yaml").write_text("web:\n  listn: x\n")
    result = run("check")
    assert (result.exit_code, told(result)) == (
        2,
        ["config.yaml:2: unknown key 'listn' in web; did you mean 'listen'?"],
    )


def test_a_missing_configuration_says_how_to_start(run: Run) -> None:
    """Exit 2."""
    result = run("check", "--config", "other.yaml")
    assert (result.exit_code, "other.yaml: no such file; start from the commented example" in result.output) == (
        2,
        True,
    )


def test_the_configuration_may_be_named_by_a_variable(run: Run, folder: Path) -> None:
    """TOCSIN_CONFIG, for containers."""
    (folder / "config.yaml").rename(folder / "other.yaml")
    assert run("check", env={"TOCSIN_CONFIG": "other.yaml"}).exit_code == 0


def test_a_broken_rule_file_is_told_and_the_others_are_checked(run: Run, folder: Path) -> None:
    """All at once."""
    (folder / "more.yaml").write_text("groups:\n  - name: x\n    rulez: []\n")
    rule(folder, expr="tocsin_endpoint_upp == 0")
    config = (folder / "config.yaml").read_text().replace("[rules.yaml]", "[rules.yaml, more.yaml]")
    (folder / "config.yaml").write_text(config)
    files = {line.partition(":")[0] for line in told(run("check"))}
    assert files == {"more.yaml", "rules.yaml"}


def test_a_rule_glob_that_matches_nothing_is_a_finding(run: Run, folder: Path) -> None:
    """At the glob's line."""
    (folder / "rules.yaml").unlink()
    result = run("check")
    assert (result.exit_code, told(result)[0].partition(";")[0]) == (
        2,
        "config.yaml:8: rules: no file matches 'rules.yaml'",
    )


def test_an_alert_without_a_runbook_is_a_finding_when_it_wakes_somebody(run: Run, folder: Path) -> None:
    """P0 and P1: who is woken is told what to do."""
    rule(folder, annotations="{summary: x}")
    result = run("check")
    assert (result.exit_code, told(result)) == (
        2,
        ["rules.yaml:4: Down has no annotation 'runbook_url'; write runbooks/Down.md, and link it by `runbook_url`"],
    )


def test_an_alert_without_a_runbook_is_a_warning_when_it_waits_for_the_digest(run: Run, folder: Path) -> None:
    """P2 and P3."""
    rule(folder, annotations="{summary: x}", labels="{severity: P3}")
    result = run("check")
    assert (result.exit_code, told(result)[0].startswith("warning: rules.yaml:4: Down has no annotation")) == (0, True)


@pytest.mark.parametrize("url", ["{{ $externalURL }}/runbooks/Up", "runbooks/Up.md", "https://x.example/runbooks/Up#a"])
def test_a_runbook_that_is_not_there_is_a_finding(run: Run, folder: Path, url: str) -> None:
    """A link that leads nowhere, found at three in the morning."""
    rule(folder, annotations=f'{{summary: x, runbook_url: "{url}"}}')
    assert told(run("check")) == [
        f"rules.yaml:4: Down links the runbook 'Up', which is not in {folder}/runbooks; write runbooks/Up.md".replace(
            f"{folder}/", ""
        )
    ]


def test_a_runbook_elsewhere_is_not_looked_for(run: Run, folder: Path) -> None:
    """A wiki is fine."""
    rule(folder, annotations='{summary: x, runbook_url: "https://wiki.example/pages/42"}')
    assert run("check").exit_code == 0


def test_a_severity_of_another_house_is_a_warning(run: Run, folder: Path) -> None:
    """It counts as P2."""
    rule(folder, labels="{severity: sev-2}")
    assert "warning: rules.yaml:4: Down has severity 'sev-2', which is unknown and counts as P2" in run("check").output


def test_a_severity_of_public_rule_collections_is_known(run: Run, folder: Path) -> None:
    """`critical` and `warning` need no change to run here."""
    rule(folder, labels="{severity: critical}")
    assert "unknown" not in run("check").output


def test_an_alert_without_severity_is_a_warning(run: Run, folder: Path) -> None:
    """It counts as P2, too."""
    rule(folder, labels="")
    assert "warning: rules.yaml:4: Down has no severity and counts as P2" in run("check").output


def test_an_alert_without_a_summary_is_a_warning(run: Run, folder: Path) -> None:
    """The message's first line."""
    rule(folder, annotations='{runbook_url: "https://wiki.example/pages/42"}')
    assert "warning: rules.yaml:4: Down has no annotation 'summary'" in run("check").output


def test_a_rule_on_a_metric_that_nothing_yields_is_a_finding(run: Run, folder: Path) -> None:
    """It would never fire; the nearest name is told."""
    rule(folder, expr="tocsin_endpoint_upp == 0")
    assert told(run("check")) == [
        "rules.yaml:4: Down reads 'tocsin_endpoint_upp', which no collector or rule yields; "
        "did you mean 'tocsin_endpoint_up'?"
    ]


@pytest.mark.parametrize(
    ("expr", "call"),
    [
        ("histogram_count(rate(tocsin_endpoint_up[5m])) > 5", "histogram_count()"),
        ("histogram_quantile(0.9, sum by (job) (rate(tocsin_endpoint_up[5m]))) > 5", "histogram_quantile() without le"),
        ("histogram_fraction(0, 1, (sum without (le) (tocsin_endpoint_up))) > 5", "histogram_fraction() without le"),
    ],
)
def test_a_rule_on_native_histograms_is_a_finding(run: Run, folder: Path, expr: str, call: str) -> None:
    """The store has none, so that it would never fire; a server that has them takes it."""
    rule(folder, expr=expr)
    assert told(run("check")) == [
        f"rules.yaml:4: Down calls {call}, which reads native histograms: there are none in the embedded store; "
        "read the classic series (NAME_bucket by le, NAME_count, NAME_sum), or set series.engine"
    ]
    with (folder / "config.yaml").open("a") as file:
        file.write('series: {engine: {prometheus: "http://127.0.0.1:9"}}\n')
    assert run("check").exit_code == 0


@pytest.mark.parametrize(
    "expr",
    [
        "histogram_quantile(0.9, sum by (job, le) (rate(tocsin_endpoint_up[5m]))) > 5",
        "histogram_quantile(0.9, sum without (job) (rate(tocsin_endpoint_up[5m]))) > 5",
        "histogram_fraction(0, 1, tocsin_endpoint_up) > 5",
    ],
)
def test_classic_histograms_are_fine(run: Run, folder: Path, expr: str) -> None:
    """Their buckets keep `le`."""
    rule(folder, expr=expr)
    assert run("check").exit_code == 0


def test_a_rule_that_compares_with_what_is_not_kept_is_a_warning(run: Run, folder: Path) -> None:
    """It would never fire, or always: a day is kept, and it asks what was three days ago. A window is only shorter."""
    rule(folder, expr="tocsin_endpoint_up < tocsin_endpoint_up offset 3d")
    ran = run("check")
    assert ran.exit_code == 0
    assert (
        "series.retention is 1d, and some rules compare with what was up to 3d ago, which they never see: Down; "
        "keep 4d, or leave those rules out"
    ) in ran.stdout
    rule(folder, expr="max_over_time(tocsin_endpoint_up[3d]) < 1")
    assert "retention" not in run("check").stdout


def test_a_rule_on_what_nobody_collects_needs_no_past(run: Run, folder: Path) -> None:
    """Shipped rules on sign-ins are no reason to keep a week where no sign-ins are watched."""
    rule(folder, expr="increase(tocsin_auth_log_lines_total[5m] offset 1w) > 0")
    assert "retention" not in run("check").stdout


def test_a_recorded_metric_is_known(run: Run, folder: Path) -> None:
    """A rule yields it."""
    rule(folder, expr="job:up:min == 0")
    text = (folder / "rules.yaml").read_text() + "          - {record: 'job:up:min', expr: min(tocsin_endpoint_up)}\n"
    (folder / "rules.yaml").write_text(text)
    assert run("check").exit_code == 0


def test_tocsins_own_metrics_are_known(run: Run, folder: Path) -> None:
    """The daemon watches itself by the same rules."""
    rule(folder, expr="tocsin_outbox_oldest_seconds > 60 and on() tocsin_collector_up == 1")
    assert run("check").exit_code == 0


def test_any_metric_may_come_from_a_remote_engine(run: Run, folder: Path) -> None:
    """What a Prometheus has, nobody here can know."""
    rule(folder, expr="node_load1 > 5")
    with (folder / "config.yaml").open("a") as file:
        file.write('series: {engine: {prometheus: "http://127.0.0.1:9"}}\n')
    assert run("check").exit_code == 0


def test_an_alert_that_no_route_takes_is_a_warning(run: Run, folder: Path) -> None:
    """It goes to the first notifier."""
    text = (folder / "config.yaml").read_text().replace("P0|P1", "P1")
    (folder / "config.yaml").write_text(text)
    assert (
        "warning: config.yaml:1: no route takes 1 alerts of severity P0 (Down): they go to log; "
        "add a route that matches severity: P0"
    ) in told(run("check"))


def test_the_same_rule_twice_is_a_warning(run: Run, folder: Path) -> None:
    """Rarely meant."""
    text = (folder / "rules.yaml").read_text()
    (folder / "rules.yaml").write_text(text + text.partition("rules:\n")[2])
    assert "is also at rules.yaml:" in run("check").output


def test_a_dashboard_that_is_no_json_is_told_with_its_line(run: Run, folder: Path) -> None:
    """An import would only say that it failed."""
    (folder / "dashboards" / "d.json").write_text('{\n  "title": "x",\n}\n')
    assert told(run("check"))[0].startswith("dashboards/d.json:3: not valid JSON")


def test_a_query_that_is_no_promql_is_told_with_its_line(run: Run, folder: Path) -> None:
    """The line of the query in the file."""
    board = {"title": "x", "uid": "x", "panels": [{"targets": [{"expr": "rate(tocsin_endpoint_up"}]}]}
    (folder / "dashboards" / "d.json").write_text(json.dumps(board, indent=1))
    (line,) = told(run("check"))
    assert line.startswith("dashboards/d.json:8: the query 'rate(tocsin_endpoint_up' is no PromQL")


def test_grafanas_variables_are_no_mistake(run: Run, folder: Path) -> None:
    """They are filled in before Prometheus sees them."""
    queries = [
        'rate(tocsin_endpoint_up{job=~"$job"}[$__rate_interval])',
        "topk(${n}, sum_over_time(tocsin_endpoint_up[$__range]))",
    ]
    board = {"title": "x", "uid": "x", "panels": [{"targets": [{"expr": query} for query in queries]}]}
    (folder / "dashboards" / "d.json").write_text(json.dumps(board))
    assert told(run("check")) == []


def test_a_panel_without_data_is_a_warning(run: Run, folder: Path) -> None:
    """It charts what nothing yields."""
    board = {"title": "x", "uid": "x", "panels": [{"targets": [{"expr": "node_load1"}]}]}
    (folder / "dashboards" / "d.json").write_text(json.dumps(board))
    assert told(run("check"))[0].startswith("warning: dashboards/d.json:1: the query charts node_load1")


def test_a_broken_template_is_told_with_its_line(run: Run, folder: Path) -> None:
    """Not by the first alert."""
    (folder / "templates").mkdir()
    (folder / "templates" / "incident.j2").write_text("fine\n{% if %}\n")
    text = (
        (folder / "config.yaml")
        .read_text()
        .replace(
            "{kind: console, name: log}",
            "{kind: slack, name: log, channel: C0123, templates: templates}",
        )
    )
    (folder / "config.yaml").write_text(text)
    assert told(run("check"))[0].startswith("templates/incident.j2:2: not a Jinja2 template: ")


def test_a_folder_that_cannot_be_written_is_a_warning(run: Run, folder: Path) -> None:
    """Where the check runs need not be where the daemon does. (A file in the way stands for it: root may write all.)"""
    (folder / "file").touch()
    with (folder / "config.yaml").open("a") as config:
        config.write("series: {path: file/series}\n")
    result = run("check")
    assert (result.exit_code, "series.path: nothing can be written to file by this user" in result.output) == (0, True)


def test_a_missing_secret_is_a_warning(run: Run, folder: Path) -> None:
    """CI checks the file without having the secrets; the daemon refuses to start."""
    with (folder / "config.yaml").open("a") as file:
        file.write("state: {url_env: NO_SUCH_VARIABLE}\n")
    result = run("check")
    assert (result.exit_code, told(result)) == (
        0,
        ["warning: config.yaml:9: the environment variable NO_SUCH_VARIABLE is not set; export NO_SUCH_VARIABLE=…, "
         "or use url_file"],
    )  # fmt: skip


def test_json_is_for_programs(run: Run, folder: Path) -> None:
    """Findings apart from warnings, each with its place."""
    rule(folder, annotations="{summary: x}", labels="{severity: P3}")
    document = json.loads(run("check", "--json").output)
    assert (document["ok"], document["findings"], [warning["line"] for warning in document["warnings"]]) == (
        True,
        [],
        [4],
    )


def test_a_route_is_explained(run: Run) -> None:
    """Who is told about an alert with these labels, and why."""
    lines = run("check", "--route", "severity=P2,service=web").output.splitlines()
    assert [lines[1].split()[0], lines[2].split()[0], lines[-1]] == ["severity=P0|P1", "→", "told: log"]


def test_a_route_for_unreadable_labels_shows_the_form(run: Run) -> None:
    """Exit 2."""
    result = run("check", "--route", "P0")
    assert (result.exit_code, "write them like severity=P0,service=checkout" in result.output) == (2, True)


def test_the_example_is_a_sound_configuration(run: Run, folder: Path) -> None:
    """What it prints can be used as it is."""
    (folder / "config.yaml").write_text(run("check", "--example").output)
    config = load_config(folder / "config.yaml", {"DATABASE_URL": "postgresql://h/d", "SLACK_BOT_TOKEN": "xoxb-1"})
    assert config.warnings == ()


def test_the_example_shows_every_key(run: Run) -> None:
    """A key that is documented nowhere is not there for anyone."""
    from tocsin.config.annotations import below, is_secret, models_of
    from tocsin.config.schema import Config

    def keys(annotation: object) -> set[str]:
        found: set[str] = set()
        for model in models_of(annotation):
            for name, info in model.model_fields.items():
                if model is Config and name in ("collectors", "notifiers"):
                    continue
                found.add(f"{info.alias or name}{'_env' if is_secret(info.annotation) else ''}")
                inner = below(info.annotation, 0) or info.annotation
                found |= keys(inner) if model not in models_of(inner) else set()
        return found

    text = run("check", "--example").output
    assert {key for key in keys(Config) if f"{key}:" not in text} == set()


@pytest.mark.parametrize("kind", ["alert_rules", "dashboards", "runbooks"])
def test_the_shipped_content_is_where_it_is_looked_for(kind: str) -> None:
    """In a checkout: the repository's own folders."""
    assert bundled_path(kind).is_dir()  # type: ignore[arg-type]


def test_a_state_file_that_others_may_read_is_a_warning(run: Run, folder: Path) -> None:
    """It holds sessions and the digests of tokens; one that is its owner's alone is not named."""
    (folder / "tocsin.db").touch()
    (folder / "tocsin.db").chmod(0o644)
    (folder / "tocsin-session.key").touch(0o600)
    told = run("check").output
    assert [name for name in ("tocsin.db can be read", "tocsin-session.key can be read") if name in told] == [
        "tocsin.db can be read"
    ]
