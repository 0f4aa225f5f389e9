"""Auth logs: who tries to sign in, who fails and why, from the log that Supabase Auth (GoTrue) writes.

    - kind: auth_logs
      name: auth
      source: {file: /var/log/gotrue.jsonl}

`source` is one of:
  {file: PATH}               a file of JSON lines
  {drain: {secret_env: …}}   Supabase's log drain, which posts to /ingest/auth-logs
  {management_api: {project: REF, token_env: …}}   Supabase's Management API, polled
  {sql: {dsn_env: …}}        Auth's own tables, polled: audit events, sessions, factors, users; no failures

Whatever the source, position and counters are saved together, so after kill -9 each line is counted once. At the first
start ever, reading begins at the end (`start: beginning` counts what is there).

file. JSON lines as Auth writes them (GOTRUE_LOG_FILE), or a container's output as Docker (json-file) or Kubernetes
(CRI) keeps it, which is recognised; the pieces of a long line are joined. Followed through rotation by rename, by copy
and truncate, truncation, and restarts of either side. A watcher looks every `watch` for growth, so a burst is seen at
once and not at the next poll.

drain. In Supabase (Pro plan): a log drain to a generic HTTP endpoint, https://…/ingest/auth-logs, with the header
X-Tocsin-Secret that holds `secret`, or Authorization: Bearer with a service token of the scope ingest:write. A batch is
answered when it is on the disk, in the folder `spool`, which belongs to the daemon; what was counted stays there for
ten minutes (until the next batch, if that is longer) and is then deleted. An event that comes again in that time is
known by its id. Events of other services are left out. Supabase tries no batch twice: what is sent while the daemon is
down is lost, but for `backfill: {project: REF, token_env: …}`. With it the Management API is asked every five minutes
for what did not come, and that is counted, once, as tocsin_auth_log_backfilled_total tells; it reaches back 24 h, and a
batch that is longer than a minute on its way is known when it comes. What came stays in the spool until it was
compared. Before the first batch the collector is blind.

management_api. Asks for the project's logs as the dashboard's Logs Explorer shows them; `interval: 30s` or more, for
the API allows few calls. Polls overlap by `overlap` and events are known by their ids, so what comes late is counted
and nothing twice. It reaches back 24 h; what was logged before that while the daemon was down is a gap. An answer
without any row is unknown, not quiet: each question reaches back to the newest known event, so that a sound answer
holds it. A project in which nobody signs in for 24 h is blind therefore. After 429, or a 5xx with Retry-After, it waits
as long as it is told to.

sql. Reads the tables of Auth's database, beside a collector for the log, not in its place: no table tells of a refused
sign-in. `interval: 30s` or more, for the audit table has no index on the time. Row security hides all rows from a
reader without BYPASSRLS, without an error: that is found out, and blind with the statement that mends it; so are
missing rights and an Auth too old for a column. GOTRUE_AUDIT_LOG_DISABLE_POSTGRES leaves the audit table empty: watch
the newest line's time. deploy/auth-role.sql makes a role with rights on the columns that are asked for; no password,
token or secret is among them. The other tables (`tables: {include: […]}`) are looked at every minute, whole but for
refresh_tokens and mfa_challenges, of which the last hour is read by an index; one that takes longer than query_deadline
is left in peace for ten minutes.

Yields, as counters:
  tocsin_auth_sign_in_attempts_total{outcome,method}     success, failure, error (5xx) · password, otp, oauth, …
  tocsin_auth_failures_total{flow,reason,ip}             flow sign_in, otp, mfa, refresh; ip as below
  tocsin_auth_refusals_total{flow,reason,provider}       the same without addresses: sums of it are always true
  tocsin_auth_address_sign_ins_total{ip}                 sign-ins from addresses that also failed
  tocsin_auth_user_failures_total{user}                  wrong passwords by hashed user: needs the hook, see below
  tocsin_auth_mfa_verifications_total{outcome}
  tocsin_auth_mfa_failures_total{factor}                 the guessed factor, hashed
  tocsin_auth_refreshes_total{outcome}                   token refreshes
  tocsin_auth_sign_ups_total{outcome}                    requests to /signup
  tocsin_auth_hook_errors_total{hook,kind}               denied (the hook said no), failed (it broke)
  tocsin_auth_admin_actions_total{action,quiet}          changes through the admin API: create_user, delete_user, …
  tocsin_auth_audit_events_total{action,actor}           user, service_role
  tocsin_auth_rate_limited_total{error_code}             answers 429
  tocsin_auth_errors_total{error_code}                   every answer with an error code
  tocsin_auth_requests_total{route,code}                 code is the HTTP status
  tocsin_auth_request_duration_seconds{route}            histogram
  tocsin_auth_log_lines_total{outcome}                   request, login, audit, hook, attempt, ignored, broken, oversize
  tocsin_auth_log_gaps_total                             times that unread lines were lost (removed while we were down)
  tocsin_auth_log_backfilled_total                       lines that a drain missed, with `backfill`
and as gauges:
  tocsin_auth_failing_ips{window}                        addresses that failed to sign in; windows 15m, 30m, 1h
  tocsin_auth_failing_users{window}                      users with a wrong password; needs the hook, as the next two
  tocsin_auth_address_failing_users{ip,window}           … by address
  tocsin_auth_user_failing_ips{user,window}              addresses with a wrong password for a user
  tocsin_auth_log_up                                     1 while the source can be read
  tocsin_auth_log_unread_bytes                           what is left to read: over 0 while catching up
  tocsin_auth_log_last_event_timestamp_seconds           the newest line's own time: a log that has gone quiet
  tocsin_auth_posture{setting}                           1 where on; with `posture`, see below
  tocsin_auth_events_kept_bytes                          with `events`, see below
and from the tables (source sql), gauges but for the two totals:
  tocsin_auth_sessions{aal}                              not ended, by assurance level
  tocsin_auth_sessions_active                            begun or refreshed within the hour
  tocsin_auth_sessions_third_party                       of somebody else's application, through OAuth
  tocsin_auth_session_changes_total{changed}             went on from another address, with another agent, both
  tocsin_auth_session_moves_total{user}                  both at once, by hashed user
  tocsin_auth_refresh_tokens{event}                      issued, revoked within the hour
  tocsin_auth_mfa_factors{status,type}                   verified, unverified
  tocsin_auth_users_with_mfa                             with a verified second factor
  tocsin_auth_mfa_challenges{state}                      open, verified within the hour
  tocsin_auth_users{state}                               confirmed, unconfirmed, anonymous, banned, deleted
  tocsin_auth_users_created{window}                      in 1h, 1d; deleted ones too
  tocsin_auth_users_signed_in{window}                    whose last sign-in was in 1h, 1d
  tocsin_auth_identities{provider}
  tocsin_auth_one_time_tokens{type}                      mailed or sent, and not used
  tocsin_auth_admin_has_mfa{user}                        1 or 0 for each of `tables: {admins: […]}`
  tocsin_auth_table_rows{table}                          as Postgres estimates them

How lines are read. Only request lines with a `status` are counted: before 2.194 an error made two lines, the first
without. `level` is never looked at: it was `info` for most errors. Sign-ins that succeeded are the `Login` lines, less
those of method `token` (a refresh) and `mfa` (a second step). Changes by an administrator are taken from the request
path, because /admin/generate_link is audited as if the victim had asked. GOTRUE_LOG_LEVEL must be info or finer: at
`warn` the successes are not logged, and a success ratio reads 0.

Posture. With `posture: {url: https://REF.supabase.co, api_key_env: …}` Auth's own /settings are read every minute:
mailer_autoconfirm, disable_signup, phone_autoconfirm, saml_enabled, and each provider as external_NAME. While they
can't be read they are unknown. changes(tocsin_auth_posture[1h]) > 0 finds what was switched.

Addresses. A failure's address is shown as a hash (`ip-` and ten digits; the salt is kept with the position, and IPv6
counts by /64). `show_ips: true` shows it in clear. At most `top_ips` addresses have series of their own, the rest
is `ip="other"`; one that has been quiet for `idle` gives its place back, an active one only to an address with
more than twice its recent failures. To find the addresses behind an alert, ask the log itself:
  jq -r 'select(.error_code=="invalid_credentials").remote_addr' FILE | sort | uniq -c | sort -rn | head

Users. Auth's log does not say whose password was wrong. Its hook password_verification_attempt does (hosted: Team and
Enterprise plans); whoever answers it writes the hook's body, one JSON object a line, to the same log, or posts it to
the same drain: {"metadata": {"name": "password-verification-attempt", "ip_address": …}, "user_id": …, "valid": false}.
Auth does not call it for users that don't exist. Without it the rules on stuffing, spraying and users under attack stay
silent. What is left is what an address does: stolen passwords show as AuthBruteForce, a slow spray as AuthSlowGuessing
(P3, for a device with an old password looks the same). One user whose password is guessed from many addresses can't be
found then: each of them fails once or twice, as people do; a refused request's line has neither user nor e-mail, and
the audit log has no refusals at all.
Users are shown as hashes, `top_users` of them. Different users and addresses are estimated by sketches (recent.py): a
few per cent off up to about 1,000, a tenth at 2,000, and never above 3,549, which stands for that many and any number
more; bounded in memory, at most 4096 addresses and users at a time.

Sessions. Auth overwrites a session's address and user agent at each refresh; each is compared with what it was. A phone
that roams has another address, an updated browser another version: neither is a move. Another address and another kind
of client at once is one, and rule AuthSessionMoved tells. What changed twice between two looks shows once. A server
that renders pages refreshes its users' sessions from its own address: name it in `tables: {servers: [{agent: node}]}`.
How far two addresses are apart is not known here.

Administrators. `quiet_admin_actions` lists what your own servers do every day, e.g. [{action: generate_link, network:
10.0.0.0/8}]; such changes are counted with quiet="yes", and AuthAdminAction leaves them out.

Events. With `events: {keep: 7d}` the lines that refused somebody, signed somebody in or were audited are kept in clear
for so long, in files that the daemon's user alone may read; `tocsin auth events ip-1f2e3d4c5b` shows those of an
address in an alert, whoever it is. They are deleted when their time is over (at most 75 minutes later), also while the
log is silent or can't be read. `tocsin auth erase ana@example.com --apply` takes one person's out before, and
overwrites them. Without `events` nothing is kept in clear, but for the drain's spool; what lay in the default folder is
deleted.

Time. Lines count at the poll that read them. A label set seen for the first time began at zero at the poll before, so
the first burst of a new address counts. What is read before the end of the file is first reached is history: it sets
the counters' first values and is no burst.

A source that is missing or can't be read is blind, with what to do about it, and is picked up when it appears. A silent
file or drain is not blind: rule AuthLogSilent tells when half an hour has no line where 50 are usual, once three days
are known; tocsin_auth_log_last_event_timestamp_seconds is there for a limit of your own.
"""

from collectors.auth_logs.collector import AuthLogsCollector
from collectors.auth_logs.declarations import METRICS
from collectors.auth_logs.settings import AuthLogsSettings
from collectors.auth_logs.sources.drain import inlet_of
from tocsin.ports import CollectorSpec

SPEC = CollectorSpec(
    kind="auth_logs", settings=AuthLogsSettings, build=AuthLogsCollector, metrics=METRICS, inlet=inlet_of
)
