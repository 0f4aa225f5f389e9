"""Every key may be set as TOCSIN_SECTION__KEY; a variable that looks like a key and is none is told."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.config import Config

Load = Callable[..., Config]
Findings = Callable[..., list[str]]

TWO = """
    collectors:
      - {kind: probe, name: app-db, interval: 5s}
      - {kind: probe, name: other}
"""


def test_a_variable_wins_over_the_file(load: Load) -> None:
    """The file is what is shipped, the environment what is deployed."""
    assert load("timezone: UTC", {"TOCSIN_TIMEZONE": "Europe/Berlin"}).timezone == "Europe/Berlin"


def test_a_variable_sets_what_the_file_does_not_have(load: Load) -> None:
    """The section need not be there."""
    assert load("", {"TOCSIN_WEB__LISTEN": "0.0.0.0:80"}).web.listen == "0.0.0.0:80"


def test_a_variable_keeps_what_is_beside_it(load: Load) -> None:
    """Sections are merged, not replaced."""
    config = load("series: {retention: 2h}", {"TOCSIN_SERIES__MAX_SERIES": "500"})
    assert (config.series.retention, config.series.max_series) == (7200, 500)


def test_an_entry_is_addressed_by_its_name(load: Load) -> None:
    """`-` is written `_`, as variables can't have one."""
    config = load(TWO, {"TOCSIN_COLLECTORS__APP_DB__INTERVAL": "1m"})
    assert [collector.interval for collector in config.collectors] == [60, 10]


def test_an_entry_is_addressed_by_its_number(load: Load) -> None:
    """For entries without a name, such as routes and targets."""
    config = load(TWO, {"TOCSIN_COLLECTORS__1__INTERVAL": "1m"})
    assert [collector.interval for collector in config.collectors] == [5, 60]


def test_an_entry_that_is_not_there_is_told_with_those_that_are(findings: Findings) -> None:
    """Nothing is set in silence beside the point."""
    assert findings(TWO, {"TOCSIN_COLLECTORS__DB__INTERVAL": "1m"}) == [
        "TOCSIN_COLLECTORS__DB__INTERVAL: no entry of collectors is called or numbered 'db'; there are: app-db, other; "
        "see `tocsin check --example`"
    ]


def test_a_list_is_given_in_yamls_flow_style(load: Load) -> None:
    """The whole list is replaced."""
    assert load("rules: [a]", {"TOCSIN_RULES": "[b.yaml, c.yaml]"}).rules == ("b.yaml", "c.yaml")


def test_a_list_that_does_not_parse_is_told_without_its_text(findings: Findings) -> None:
    """It may hold a secret."""
    assert findings("", {"TOCSIN_NOTIFIERS": "[{token: hunter2"}) == [
        "TOCSIN_NOTIFIERS: not valid YAML: expected ',' or '}', but got '<stream end>'; write a list like [a, b] and a "
        "mapping like {key: value}"
    ]


def test_a_section_and_its_keys_may_both_be_variables(load: Load) -> None:
    """The key adds to the section, whatever the order of the environment."""
    environ = {"TOCSIN_WEB__LISTEN": "127.0.0.1:1", "TOCSIN_WEB": "{supabase: {url: 'https://a.b'}}"}
    config = load("", environ)
    assert (config.web.listen, config.web.supabase.url if config.web.supabase else "") == ("127.0.0.1:1", "https://a.b")


def test_an_empty_variable_counts_as_not_set(load: Load) -> None:
    """As Compose files leave one behind."""
    assert load("timezone: Europe/Berlin", {"TOCSIN_TIMEZONE": ""}).timezone == "Europe/Berlin"


def test_a_wrong_value_is_told_at_its_variable(findings: Findings) -> None:
    """Not at a line of the file that says something else."""
    assert findings("timezone: UTC", {"TOCSIN_TIMEZONE": "Mars"}) == [
        "TOCSIN_TIMEZONE: timezone: no such time zone: 'Mars'; write it like Europe/Berlin or UTC"
    ]


def test_an_unknown_key_in_a_variable_names_the_nearest(findings: Findings) -> None:
    """As one in the file does."""
    assert findings("", {"TOCSIN_WEB__LISTN": "x"}) == [
        "TOCSIN_WEB__LISTN: unknown key 'listn' in web; did you mean 'listen'?"
    ]


def test_an_unknown_section_in_a_variable_names_the_nearest(findings: Findings) -> None:
    """With the variable to write."""
    assert findings("", {"TOCSIN_WEBB__LISTEN": "x"}) == [
        "TOCSIN_WEBB__LISTEN: no section 'webb' in the configuration; unset it, or write TOCSIN_WEB__LISTEN"
    ]


def test_a_variable_that_is_nearly_a_section_is_a_warning(load: Load) -> None:
    """It may be somebody else's, and more probably it is a typing error."""
    (warning, *_) = load("", {"TOCSIN_TIMEZON": "x"}).warnings
    assert str(warning) == (
        "TOCSIN_TIMEZON: is no key of the configuration, and is ignored; unset it, or write TOCSIN_TIMEZONE"
    )


def test_variables_of_others_are_left_alone(load: Load) -> None:
    """The command line's own, and a secret somebody called TOCSIN_SLACK_BOT."""
    environ = {"TOCSIN_TOKEN": "t", "TOCSIN_URL": "u", "TOCSIN_DEBUG": "1", "TOCSIN_SLACK_BOT": "x"}
    assert [w for w in load("", environ).warnings if w.file.startswith("TOCSIN")] == []


def test_a_key_below_a_value_is_told(findings: Findings) -> None:
    """A value has nothing below it."""
    assert findings("timezone: UTC", {"TOCSIN_TIMEZONE__ZONE": "x"}) == [
        "TOCSIN_TIMEZONE__ZONE: timezone is a value and has no keys below it; see `tocsin check --example`"
    ]
