"""Endpoint: does each URL answer as expected, and how long does each phase take?

    - kind: endpoint
      name: web
      interval: 5s
      targets:
        - {url: "https://app.example/healthz", expect: {status: 200, body_contains: ok, max_seconds: 1}}
        - {url: "https://app.example/api/me", name: api, service: api, headers_env: {Authorization: PROBE_AUTH}}

Yields, per target and poll (`instance` is the target's name, or its URL without the query; `service` where given):
  tocsin_endpoint_up                      1 when the answer met every expectation, else 0
  tocsin_endpoint_failure{reason}         1 for each expectation that was not met; absent when all were
  tocsin_endpoint_phase_seconds{phase}    dns, connect, tls, first_byte, total; a phase that was not reached is absent
  tocsin_endpoint_status_code             the status of the last answer
  tocsin_endpoint_certificate_expiry_timestamp_seconds   the first notAfter of its certificates: of the chain that was
                                          built up to a root where they are trusted, else of all that was shown
  tocsin_endpoint_duration_seconds        histogram of `total`; a timeout counts with the time that was waited
  tocsin_endpoint_probes_total{outcome}   success, failure
  tocsin_endpoint_tries_total{outcome}    the same by try: with `retries: N` a failed try that the next one made good is
                                          a success of the probe, and counted here as the failure that users saw
  tocsin_endpoint_probe_tries             tries that the last probe took; only of targets with `retries`
  tocsin_endpoint_step_seconds{step}      a journey's steps, clean-up included
  tocsin_endpoint_step_failure{step,reason}      1 for why a journey ended early; absent when it did not
  tocsin_endpoint_cleanup_failure{step,reason}   1 for each clean-up step that failed; the target is up all the same
  tocsin_endpoint_uptime_ratio{window}    share of the probes that were up, of the last 1d, 3d, 7d, 30d; kept by the
                                          hour across restarts (kill -9 loses five minutes of it at most)
  tocsin_endpoint_slo_ratio               the objective, where a target has one: `slo: 99.9` is all that its burn-rate
                                          alerts want (EndpointBudgetBurns, EndpointBudgetBurnsSlowly)
and blackbox_exporter's probe_success, probe_duration_seconds, probe_http_status_code and probe_ssl_earliest_cert_expiry
for rules that exist (off: `blackbox_names: false`).

Reasons: dns (also a lookup that hangs), connect, tls, certificate_expired, certificate_not_yet_valid,
certificate_of_another_host, certificate_untrusted, timeout, protocol (the peer broke off or spoke no HTTP),
http_version (`http: 2`, and it fell back), redirect (too many, to no web address, or not to `url_matches`), status,
body, json, header, extract (a journey's variable was not there, or can't stand where it is used), nxdomain, servfail,
rcode (another one), records, slow.

A journey is a target with `steps`, each a request with its own `expect`; see docs/endpoints.md:

      - name: campaigns
        url: https://app.example
        secrets_env: {password: PROBE_PASSWORD}
        steps:
          - {name: login, method: POST, url: /login, json: {user: probe, password: "${password}"},
             extract: {token: {json: access_token}}}
          - {name: create, method: POST, url: /campaigns, headers: {Authorization: "Bearer ${token}"},
             expect: {status: 201}, extract: {id: {json: id}}}
        cleanup:
          - {name: delete, method: DELETE, url: "/campaigns/${id}", headers: {Authorization: "Bearer ${token}"}}

Cookies and variables live for one run. The first step that fails ends it; `cleanup` is made however it ended, but for
steps whose variables were never found, and has a fifth of the deadline. Values of variables are in no label or log.

`tcp://HOST:PORT` asks whether a port takes connections, `tls://HOST:PORT` for its certificate too; with body_contains
or body_matches, what it says first (a mail server's greeting). Such a target has no status.

`dns://SERVER:PORT/NAME?type=A` asks a name server (RFC 4501; without SERVER the system's first): expect.rcode and
records_contain, records_equal, records_least. Over UDP, and TCP when the answer does not fit or with `transport=tcp`.

`http: 2` on an https:// target, or a journey, makes its requests over HTTP/2.

A target that can't be reached is a result (`up 0`), not an error of the collector. Every probe makes a connection of
its own, so that each phase is measured each time, and a broken listener is not hidden by a connection that is still
open. With redirects, a phase is the sum over the hops. All targets are probed at once (`concurrency` at most), each
with its own deadline, and each is told as soon as it is known: a hanging target delays nobody. Many are not begun at
one instant, but spread by name over half of the poll's time at most. A target that has not answered after
`expect.max_seconds` is failed (`slow`) at that moment, not when it answers at last.

A target's deadline lies within the collector's (default: the interval, at most 10s). A probe that had to wait for a
free place and was cut short by the end of the poll is unknown (blind), not down: raise `concurrency` or `interval`.
So is one whose secret or CA file can't be read. Secret headers (`headers_env`, `headers_file`, the bearer token) go to
the target's own origin only: a redirect elsewhere is followed without them, and
without headers of a step that hold a variable.
"""

from collectors.endpoint.collector import EndpointCollector
from collectors.endpoint.declarations import METRICS
from collectors.endpoint.examine import examine
from collectors.endpoint.settings import EndpointSettings
from tocsin.ports import CollectorSpec

SPEC = CollectorSpec(
    kind="endpoint", settings=EndpointSettings, build=EndpointCollector, metrics=METRICS, examine=examine
)
