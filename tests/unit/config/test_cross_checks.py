"""What no single key can be wrong about: names that must exist, loops, things that work and are not meant."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.config import Config

Load = Callable[..., Config]
Findings = Callable[..., list[str]]

NOTIFIERS = """
notifiers:
  - {kind: chat, name: pages, channel: C1, mentions: {ana: U1}}
  - {kind: plain, name: backup}
"""


def routes(*lines: str, notifiers: str = NOTIFIERS) -> str:
    return "\n".join(["routes:", *(f"  - {line}" for line in lines)]) + notifiers


def warnings(config: Config) -> list[str]:
    return [
        f"{finding.line}: {finding.what}" for finding in config.warnings if "nothing is watched" not in finding.what
    ]


def test_two_entries_of_one_name_are_refused(findings: Findings) -> None:
    """A name is the `job` label, and how routes call a notifier."""
    text = "collectors:\n  - {kind: probe, name: a}\n  - {kind: probe, name: a}\n"
    assert findings(text) == [
        "config.yaml:3: two collectors are called 'a' (collectors[0] and collectors[1]); give one of them another name"
    ]


def test_a_route_to_an_unknown_notifier_names_the_nearest(findings: Findings) -> None:
    """An alert must not go nowhere."""
    assert findings(routes("{notify: [page, backup]}")) == [
        "config.yaml:2: routes[0] notifies 'page', which is no notifier; did you mean 'pages'?"
    ]


def test_a_heartbeat_through_nobody_and_the_canarys_own_name_are_refused(findings: Findings) -> None:
    """A walk that can never arrive would be an alarm for ever."""
    text = (
        routes("{notify: [pages, backup]}")
        + "  - {kind: plain, name: tocsin-canary}\n"
        + "heartbeat: {url_file: config.yaml, through: [page]}\n"
    )
    told = [finding for finding in findings(text) if "heartbeat.url" not in finding]
    assert told == [
        "config.yaml:6: 'tocsin-canary' is the name of the heartbeat's canary; give it another name",
        "config.yaml:7: heartbeat goes through 'page', which is no notifier; did you mean 'pages'?",
    ]


def test_a_nested_route_is_checked_too(findings: Findings) -> None:
    """At its own line."""
    told = findings("routes:\n  - notify: [pages, backup]\n    routes:\n      - {notify: page}\n" + NOTIFIERS)
    assert told == ["config.yaml:4: routes[0].routes[0] notifies 'page', which is no notifier; did you mean 'pages'?"]


def test_a_route_to_a_notifier_with_findings_is_not_reported_as_unknown(findings: Findings) -> None:
    """One mistake, one finding."""
    text = routes("{notify: pages}", notifiers="\nnotifiers:\n  - {kind: chat, name: pages}\n")
    assert [finding.partition("; ")[0] for finding in findings(text)] == [
        "config.yaml:4: 'channel' is missing in notifiers[pages]"
    ]


def test_an_escalation_to_nobody_is_refused(findings: Findings) -> None:
    """Found out when nobody acked, it would be too late."""
    (told,) = findings(routes("{notify: [pages, backup], escalate: {after: 5m, to: [anna]}}"))
    assert told.startswith("config.yaml:2: routes[0] escalates to 'anna', who is neither a notifier nor a contact")


def test_an_escalation_goes_to_notifiers_and_contacts(load: Load) -> None:
    """A contact is a name in a notifier's `mentions`."""
    config = load(routes("{notify: pages, escalate: [{after: 5m, to: ana}, {after: 15m, to: [backup]}]}"))
    assert [step.to for step in config.routes[0].escalate or ()] == [("ana",), ("backup",)]


def test_a_mention_of_a_stranger_is_refused(findings: Findings) -> None:
    """It would be shown and wake nobody."""
    (told,) = findings(routes("{notify: [pages, backup], mentions: [an]}"))
    assert told == "config.yaml:2: routes[0] mentions 'an', whom no notifier knows; did you mean 'ana'?"


def test_a_route_that_tells_nobody_is_refused(findings: Findings) -> None:
    """Nobody on purpose is said so."""
    (told,) = findings(routes("{match: {severity: P0}}", "{notify: [pages, backup]}"))
    assert told == ("config.yaml:2: routes[0] tells nobody; add `notify: [NOTIFIER]`, or `notify: []` if that is meant")


def test_nobody_on_purpose_is_fine(load: Load) -> None:
    """The incident is kept and shown."""
    assert load(routes("{match: {team: x}, notify: []}", "{notify: [pages, backup]}")).routes[0].notify == ()


def test_a_severity_that_does_not_exist_is_refused(findings: Findings) -> None:
    """`critical` is another house's word: the route would never match."""
    (told,) = findings(routes("{match: {severity: critical}, notify: [pages, backup]}"))
    assert told == (
        "config.yaml:2: routes[0]: match: severity 'critical' matches no severity; there are P0, P1, P2, P3"
    )


def test_a_broken_expression_is_refused(findings: Findings) -> None:
    """With what RE2 objects to."""
    (told,) = findings(routes("{match: {service: 'a('}, notify: [pages, backup]}"))
    assert told.startswith("config.yaml:2: routes[0]: match: service: not a regular expression (RE2): 'a(': missing )")


def test_steps_out_of_order_are_refused(findings: Findings) -> None:
    """Sooner steps first."""
    steps = "[{after: 15m, to: pages}, {after: 5m, to: backup}]"
    (told,) = findings(routes(f"{{notify: pages, escalate: {steps}}}"))
    assert told == "config.yaml:2: routes[0]: escalate: the steps must be in the order of their `after`"


def test_a_route_below_one_that_takes_everything_is_a_warning(load: Load) -> None:
    """It is never tried."""
    config = load(routes("{notify: [pages, backup]}", "{match: {severity: P0}, notify: pages}"))
    assert warnings(config) == ["3: routes[1] is never tried: routes[0] takes every alert"]


def test_a_failover_to_nobody_names_the_nearest(findings: Findings) -> None:
    """The way out must exist before it is needed."""
    text = "notifiers:\n  - {kind: plain, name: a, failover: backpu}\n  - {kind: plain, name: backup}\n"
    assert findings(text) == [
        "config.yaml:2: notifiers[a] fails over to 'backpu', which is no notifier; did you mean 'backup'?"
    ]


def test_a_failover_to_itself_is_refused(findings: Findings) -> None:
    """It would go round for ever."""
    assert findings("notifiers: [{kind: plain, name: a, failover: a}]") == [
        "config.yaml:1: notifiers[a] fails over to itself; name another, or remove it"
    ]


def test_a_notifier_without_a_name_is_in_no_circle(findings: Findings) -> None:
    """An empty name is told as what it is, and breaks no other check."""
    found = findings('notifiers:\n  - {kind: plain, name: "", failover: b}\n  - {kind: plain, name: b}\n')
    assert (len(found), "circle" in found[0]) == (1, False)


def test_a_circle_of_failovers_is_told_once(findings: Findings) -> None:
    """With the way round."""
    text = """\
        notifiers:
          - {kind: plain, name: a, failover: b}
          - {kind: plain, name: b, failover: c}
          - {kind: plain, name: c, failover: b}
    """
    assert findings(text) == ["config.yaml:3: fail-over goes in a circle: b → c → b; let the last one have none"]


def test_a_label_that_the_daemon_sets_is_refused(findings: Findings) -> None:
    """`job` is the collector's name."""
    assert findings("collectors: [{kind: probe, name: a, labels: {job: x}}]") == [
        "config.yaml:1: the label 'job' is the collector's name, set by Tocsin; "
        "remove it, or give the collector that name"
    ]


def test_a_label_that_is_no_label_name_is_refused(findings: Findings) -> None:
    """Prometheus' rule for names."""
    assert findings("collectors: [{kind: probe, name: a, labels: {my-team: x}}]") == [
        "config.yaml:1: 'my-team' is not a label name; use letters, digits and _, not beginning with a digit or __"
    ]


def test_a_notifier_that_nothing_names_is_a_warning(load: Load) -> None:
    """It gets nothing."""
    assert warnings(load(routes("{notify: pages}"))) == [
        "5: no route, escalation or fail-over names the notifier 'backup'"
    ]


def test_notifiers_without_routes_are_a_warning(load: Load) -> None:
    """It works, by the fallback."""
    assert warnings(load(NOTIFIERS)) == ["2: no routes: every alert goes to the first notifier, pages"]


def test_listening_beyond_this_machine_is_a_warning(load: Load) -> None:
    """Plain HTTP, and a console that opens from here only."""
    config = load("web: {listen: 0.0.0.0:9475}" + routes("{notify: [pages, backup]}").replace("routes", "\nroutes", 1))
    assert warnings(config) == [
        "1: web.listen 0.0.0.0:9475 is reached from other machines, in plain HTTP",
        "1: without web.supabase the console opens by a one-time link, which works from this machine only",
    ]


def test_what_signing_in_lacks_is_a_warning(load: Load) -> None:
    """No key; a key that hides whose address it is; plain HTTP from elsewhere, on which no browser keeps a cookie."""
    told = routes("{notify: [pages, backup]}").replace("routes", "\nroutes", 1)

    def warned(web: str, **environ: str) -> list[str]:
        return warnings(load(f"web: {{{web}}}" + told, environ))

    url = "supabase: {url: https://ref.supabase.co"
    secret, public = {"K": "sb_secret_abcdefgh"}, {"K": "sb_publishable_abcdefgh"}
    assert warned(f"{url}}}") == [
        "1: without an API key nobody signs in to the console, and ended sessions and bans are not noticed"
    ]
    assert warned(f"{url}, api_key_env: K}}", **secret) == []
    assert warned(f"{url}, api_key_env: K}}", **public) == [
        "1: with a publishable key all sign-ins count as this host's at Supabase, its limits included"
    ]
    assert warned(f"listen: '0.0.0.0:1', {url}, api_key_env: K}}", **secret)[1:] == [
        "1: browsers keep the console's cookies on https only, so nobody can sign in from another machine"
    ]
