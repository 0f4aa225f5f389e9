"""What a line of Supabase Auth's log means."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.auth_logs.counts import Counts
from collectors.auth_logs.events import BROKEN, IGNORED, Kind, Meaning, read_line
from collectors.auth_logs.routes import route_of
from collectors.auth_logs.tally import Tally, read_lines

AT = datetime(2026, 8, 20, 12, 0, tzinfo=UTC)
# A type of this folder's conftest, which a test can't import.
Lines = Any


def told(meaning: Meaning, *names: str) -> tuple[str, ...]:
    return tuple(getattr(meaning, name) for name in names)


PASSWORD, PKCE, REFRESH = {"grant_type": "password"}, {"grant_type": "pkce"}, {"grant_type": "refresh_token"}
NO_CODE = {"error": "400: Invalid login credentials"}


@pytest.mark.parametrize(
    ("path", "status", "fields", "flow", "outcome"),
    [
        ("/token", 400, {**PASSWORD, "error_code": "invalid_credentials"}, "sign_in", "failure"),
        ("/token", 400, {**PASSWORD, "error_code": "user_banned"}, "sign_in", "failure"),
        ("/token", 400, {**PASSWORD, **NO_CODE}, "sign_in", "failure"),
        ("/token", 500, {**PASSWORD, "error_code": "unexpected_failure"}, "sign_in", "error"),
        ("/token", 400, {**PASSWORD, "error_code": "captcha_failed"}, "", "failure"),
        ("/token", 400, {**PASSWORD, "error_code": "validation_failed"}, "", "failure"),
        ("/token", 200, PASSWORD, "", "success"),
        ("/token", 429, {**PASSWORD, "error_code": "over_request_rate_limit"}, "", ""),
        ("/token", 400, {**PKCE, "error_code": "bad_code_verifier"}, "sign_in", "failure"),
        ("/token", 200, REFRESH, "refresh", "success"),
        ("/token", 400, {**REFRESH, "error_code": "refresh_token_already_used"}, "refresh", "failure"),
        ("/token", 429, REFRESH, "refresh", ""),
        ("/verify", 403, {"error_code": "otp_expired"}, "otp", "failure"),
        ("/verify", 303, {"method": "GET", "error_code": "otp_expired"}, "otp", "failure"),
        ("/verify", 200, {}, "", "success"),
        ("/factors/9b7e/verify", 200, {}, "mfa", "success"),
        ("/factors/9b7e/verify", 422, {"error_code": "mfa_verification_failed"}, "mfa", "failure"),
        ("/factors/9b7e/verify", 401, {"error_code": "bad_jwt"}, "", "failure"),
        ("/signup", 200, {}, "sign_up", "success"),
        ("/signup", 403, {}, "sign_up", "failure"),
    ],
)
def test_requests_are_told_apart(
    lines: Lines, path: str, status: int, fields: dict[str, Any], flow: str, outcome: str
) -> None:
    """Which flow a request belongs to and how it ended; a refused credential is a failure with its code."""
    meaning = read_line(lines.request(path, status, **fields)).meaning
    refused = outcome == "failure" and flow not in ("", "sign_up")
    code = fields.get("error_code", "invalid_credentials")
    assert told(meaning, "flow", "outcome", "failure") == (flow, outcome, code if refused else "")


def test_only_the_line_with_a_status_counts(lines: Lines) -> None:
    """Before 2.194 an error made two lines; the first, without status, is nothing."""
    first = lines.failed(status=None, level="info", msg="400: Invalid login credentials")
    assert read_line(first) is IGNORED
    assert read_line(lines.failed(level="info")).meaning.failure == "invalid_credentials"


@pytest.mark.parametrize("level", ["info", "warning", "error", "nonsense"])
def test_the_level_means_nothing(lines: Lines, level: str) -> None:
    """It was `info` for most errors: equal lines of any level are one meaning."""
    assert read_line(lines.failed(level=level)).meaning is read_line(lines.failed()).meaning


@pytest.mark.parametrize(
    ("method", "flow"), [("password", "sign_in"), ("oauth", "sign_in"), ("token", ""), ("mfa", "")]
)
def test_refreshes_and_second_steps_are_no_sign_ins(lines: Lines, method: str, flow: str) -> None:
    """`Login` is written for them too."""
    assert read_line(lines.login(method)).meaning.flow == flow


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("DELETE", "/admin/users/6f1c", "delete_user"),
        ("POST", "/admin/generate_link", "generate_link"),
        ("DELETE", "/admin/users/6f1c/factors/9b7e", "delete_factor"),
        ("POST", "/invite", "invite_user"),
        ("POST", "/admin/something/new", "other"),
        ("GET", "/admin/users", ""),
        ("POST", "/token", ""),
    ],
)
def test_administrators_are_known_by_their_path(lines: Lines, method: str, path: str, action: str) -> None:
    """The audit names the victim for a generated link; the path names the deed."""
    assert read_line(lines.request(path, 200, method=method)).meaning.admin == action
    assert read_line(lines.request(path, 401, method=method)).meaning.admin == ""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("Only company emails may sign up.", "denied"),
        ("500: Unexpected status code returned from hook: 500", "failed"),
        ("ERROR: permission denied for table x (SQLSTATE 42501)", "failed"),
    ],
)
def test_a_hook_denies_or_fails(error: str, kind: str) -> None:
    """A refusal is the hook's work; an error of it keeps everybody out."""
    line = json.dumps({"msg": "Hook errored out", "hook": "pg-functions://postgres/public/gate", "error": error})
    assert told(read_line(line.encode()).meaning, "hook", "outcome") == ("gate", kind)


def test_a_failure_bears_its_address_and_factor(lines: Lines) -> None:
    """What the counters by address and factor need, and nothing for lines that don't."""
    path = "/factors/9b7e/verify"
    event = read_line(lines.request(path, 422, error_code="mfa_verification_failed"))
    assert event[1:] == ("203.0.113.7", "9b7e", "")
    assert read_line(lines.request(path, 200)).address == ""


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"", Kind.BROKEN),
        (b"plain text", Kind.BROKEN),
        (b'{"msg":"starting"}', Kind.IGNORED),
        (b' {"msg":"starting"}\r', Kind.IGNORED),
        (b'{"msg":"cut of', Kind.BROKEN),
        (b'{"status":400,"path":"/tok', Kind.BROKEN),
        (b'["status"]', Kind.BROKEN),
        (b'{"status":"400","path":"/token"}', Kind.IGNORED),
        (b'{"status":400,"path":null}', Kind.REQUEST),
        (b'{"status":400,"path":"/token","error_code":["x"]}', Kind.BROKEN),
        (b'{"status":99999,"path":"/token"}', Kind.BROKEN),
        (b'{"status":400,"path":"/token","duration":-1}', Kind.REQUEST),
        (b'{"status":400,"path":"/token","duration":"1"}', Kind.REQUEST),
        (b'{"msg":"audit_event"}', Kind.AUDIT),
        (b'{"msg":"Login","metering":true}', Kind.LOGIN),
        (b'\xff\xfe{"status":1}', Kind.BROKEN),
    ],
)
def test_every_line_is_something(line: bytes, kind: Kind) -> None:
    """Broken lines are counted, never an error."""
    assert read_line(line).meaning.kind is kind


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
_names = st.sampled_from(
    [
        *("status", "path", "method", "grant_type", "error_code", "error", "msg", "hook", "auth_event"),
        *("auth_audit_event", "duration", "time", "remote_addr", "login_method", "metering"),
    ]
)


@given(st.dictionaries(_names, _json))
def test_no_line_raises(fields: dict[str, Any]) -> None:
    """Whatever stands in a field, the line is an event."""
    assert read_line(json.dumps(fields).encode()).meaning.kind in Kind


@given(st.binary(max_size=200))
def test_no_bytes_raise(line: bytes) -> None:
    """Neither do bytes that are no JSON."""
    assert read_line(line + b'"status"').meaning.kind in Kind


@given(st.text(max_size=80), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_what_a_client_chooses_makes_no_new_label(path: str, method: str, grant: str, code: str) -> None:
    """Paths, methods and grants are mapped to a bounded set; a code that is none of GoTrue's form is `other`."""
    line = json.dumps({"path": f"/{path}", "status": 404, "method": method, "grant_type": grant, "error_code": code})
    meaning = read_line(line.encode()).meaning
    assert meaning.route in {
        "other",
        "/admin/other",
        "/oauth/other",
        "/scim/other",
        "/passkeys/other",
        "/sso/other",
    } or (meaning.route == route_of(f"/{path}"))
    assert meaning.error_code in ("", "other") or meaning.error_code.replace("_", "").isalnum()


def test_routes_hide_ids() -> None:
    """A template per route; ids and strangers make no series."""
    assert {path: route_of(path) for path in ("/auth/v1/token", "/token/", "/user/identities/1", "/wp-login.php")} == {
        "/auth/v1/token": "/token",
        "/token/": "/token",
        "/user/identities/1": "/user/identities/{id}",
        "/wp-login.php": "other",
    }
    assert BROKEN.meaning.route == ""


def test_many_lines_mean_what_each_means_alone(lines: Lines) -> None:
    """Lines with the same words share a meaning that was worked out once: never one with other words."""
    some = [
        lines.request("/user", 200, method="GET"), lines.failed(), lines.failed("192.0.2.1"), lines.login("token"),
        lines.login("password"), lines.request("/token", 200, grant_type="pkce"),
        lines.request("/token", 400, grant_type="password", error="400: Invalid login credentials"),
        lines.request("/token", 400, grant_type="password", error="other"),
        lines.request("/token", 200, grant_type="password"), lines.request("/verify", 403, error_code="otp_expired"),
        lines.request("/factors/a/verify", 422, error_code="mfa_verification_failed"),
        lines.request("/factors/b/verify", 422, error_code="mfa_verification_failed"),
        lines.request("/admin/users/1", 200, method="DELETE"), lines.request("/admin/users", 200, method="POST"),
        lines.audit("login"), lines.audit("odd"), b"broken", b"[]", b"{}", b'{"status":"200","path":"/token"}',
        b'{"status":200,"path":["x"]}', b'{"status":400,"path":"/token","error_code":{"a":1}}', b'{"msg":"Login"}',
        b'{"msg":"Login","metering":true,"login_method":[]}', b'{"msg":"audit_event","auth_audit_event":"no"}',
    ]  # fmt: skip
    for _ in range(3):
        tally = Tally()
        read_lines(some * 2, tally, max_line=1 << 18)
        alone = [read_line(line) for line in some * 2]
        took = Counter({meaning: len(each) for meaning, each in tally.took.items()})
        assert Counter(tally.meanings) + took == Counter(event.meaning for event in alone)
        assert {meaning for meaning in tally.took if not meaning.route} == set()
        assert tally.named == [event[:2] for event in alone if event.meaning.names and not event.factor]
        assert tally.events == [event for event in alone if event.factor]


def test_times_and_durations_of_many_lines(lines: Lines) -> None:
    """The newest line's time, each answer's nanoseconds, and nothing in the histogram of what is no duration."""
    durations = [84_311_250, 1_000_000_000, -1, 1 << 60, "9", None, True]
    some = [lines.request("/user", 200, method="GET", duration=each) for each in durations]
    some += [lines.request(time="2026-08-20T10:00:00Z"), b"{}", b"broken", b"[]"]
    tally, counting = Tally(), Counts(salt=b"salt", top_ips=3, idle=3600, show_ips=True)
    read_lines(some, tally, max_line=1000)
    counting.take(some)
    assert ([*tally.took.values()], tally.named) == ([durations, [84_311_250]], [])
    assert tally.time == "2026-08-20T10:00:00Z"
    counting.settle(AT, None)
    answers = {s.labels.get("route"): s.value for s in counting.samples(AT, None) if s.name.endswith("seconds_sum")}
    assert answers == {"/user": 1.08431125, "/token": 0.08431125}
    assert {s.value for s in counting.samples(AT, None) if s.name.endswith("seconds_count")} == {2.0, 1.0}


def test_a_line_that_is_too_long_is_counted_and_the_others_are_read(lines: Lines) -> None:
    """Wherever it stands among them."""
    tally, long = Tally(), lines.failed(referer="x" * 1000)
    read_lines([lines.failed(), long, lines.login(), long], tally, max_line=1000)
    kinds = Counter(meaning.kind for meaning in [*tally.meanings, *tally.took])
    assert (kinds, len(tally.named)) == ({Kind.OVERSIZE: 2, Kind.LOGIN: 1, Kind.REQUEST: 1}, 1)


def test_an_attempt_bears_its_time_inside(lines: Lines) -> None:
    """The hook's body has no time of its own beside its metadata."""
    tally = Tally()
    body = orjson.loads(lines.attempt("u", "192.0.2.1"))
    body["metadata"]["time"] = "2026-08-20T11:00:00Z"
    other = b'{"metadata":{"time":"2027-01-01T00:00:00Z"}}'
    read_lines([lines.request(), orjson.dumps(body), other], tally, max_line=1000)
    assert (tally.time, [event.user for event in tally.events]) == ("2026-08-20T11:00:00Z", ["u"])
