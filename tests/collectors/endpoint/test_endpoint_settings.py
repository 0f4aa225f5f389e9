"""The endpoint collector's settings: what is wrong is named, with the way to mend it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from collectors.endpoint.settings import EndpointSettings

URL = "http://127.0.0.1/"


def settings(*targets: dict[str, Any], **more: Any) -> EndpointSettings:
    return EndpointSettings.model_validate({"kind": "endpoint", "name": "web", "targets": list(targets), **more})


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"url": "app.example/healthz"}, "is not an http://, https://, tcp://, tls:// or dns:// address"),
        ({"url": "http://[::1"}, "Invalid IPv6 URL"),
        ({"url": "http://app.example:99999/"}, "app.example:99999"),
        ({"url": "https://ana:secret@app.example/"}, "headers_env"),
        ({"url": URL, "headers": {"Authorization": "Bearer x"}}, "headers_env: {Authorization: VARIABLE}"),
        ({"url": URL, "expect": {"statuss": 200}}, "expect.statuss"),
        ({"url": URL, "expect": {"status": 700}}, "less than or equal to 599"),
        ({"url": URL, "expect": {"body_matches": "a(b"}}, "missing )"),
        ({"url": URL, "deadline": "1s", "expect": {"max_seconds": "2s"}}, "not below the deadline"),
        ({"url": URL, "deadline": "1 minute"}, "write it like 30s"),
        ({"url": URL, "deadline": "20s"}, "raise the collector's `deadline`"),
        ({"url": URL, "expect": {"max_seconds": "9800ms"}}, "not below its deadline"),
        ({"url": URL, "bearer_token_env": "A", "bearer_token_file": "b"}, "keep one"),
        ({"url": URL, "method": "BREW"}, "'GET'"),
        ({"url": URL, "expect": {"json_exists": ["a..b"]}}, "write it like items[0].id"),
        ({"url": URL, "expect": {"header_matches": {"a b": "x"}}}, "is no header's name"),
        ({"url": URL, "retries": 11}, "less than or equal to 10"),
        ({"url": URL, "retries": 4, "expect": {"max_seconds": "2s"}}, "5 tries of expect.max_seconds (2s) don't fit"),
        ({"url": URL, "headers_env": {"X-A": "A"}, "headers_file": {"x-a": "a"}}, "x-a is in headers_env and"),
        ({"url": URL, "headers": {"X-A": "1"}, "headers_env": {"x-a": "A"}}, "x-a is in headers and headers_env"),
        (
            {"url": URL, "bearer_token_env": "A", "headers_env": {"Authorization": "B"}},
            "authorization is in headers_env and bearer_token_env",
        ),
        ({"url": URL, "tls": {"key_file": "a.key"}}, "key_file is the key of cert_file"),
        ({"url": URL, "tls": {"verify": False, "ca_file": "ca.pem"}}, "remove one"),
        ({"url": URL, "cleanup": [{"name": "a"}]}, "cleanup is for a journey"),
        ({"url": URL, "steps": [{"name": "a"}]}, "needs a `name`"),
        (
            {"url": URL, "name": "j", "method": "POST", "steps": [{"name": "a"}]},
            "method: write it in",
        ),
        ({"url": URL, "name": "j", "expect": {"status": 200}, "steps": [{"name": "a"}]}, "expect.status: write it"),
        ({"url": URL, "name": "j", "steps": [{"name": "a", "body": "x", "json": 1}]}, "body and json are both set"),
        ({"url": URL, "name": "j", "steps": [{"name": "a", "url": "https://${h}/"}]}, "not in the host"),
        ({"url": URL, "name": "j", "steps": [{"name": "a", "extract": {"x": {}}}]}, "name one of json, header"),
        ({"url": URL, "name": "j", "steps": [{"name": "a", "body": "${1}"}]}, "is no variable"),
        ({"url": "tcp://a:1", "name": "j", "steps": [{"name": "a"}]}, "speaks no HTTP: remove steps"),
    ],
)
def test_a_wrong_target_is_named(target: dict[str, Any], says: str) -> None:
    """Each mistake's message says what is wrong or how to mend it."""
    with pytest.raises(ValidationError) as refused:
        settings(target)
    assert says in str(refused.value)


def test_two_targets_of_one_name_are_refused() -> None:
    """Their series could not be told apart."""
    with pytest.raises(ValidationError, match="another `name`"):
        settings({"url": f"{URL}?a=1"}, {"url": f"{URL}?a=2"})


@pytest.mark.parametrize("buckets", [[1.0, 1.0], [2.0, 1.0], [0.0, 1.0], []])
def test_buckets_must_rise(buckets: list[float]) -> None:
    """A histogram whose bounds don't rise can't be read."""
    with pytest.raises(ValidationError):
        settings({"url": URL}, buckets=buckets)


def test_a_probe_ends_before_its_poll_is_cut() -> None:
    """A hanging target's own timeout comes before the runtime cancels the poll."""
    read = settings({"url": URL}, {"url": URL, "name": "x", "deadline": "10s"}, interval="10s")
    assert all(read.deadline_of(target) < read.budget < read.time_limit for target in read.targets)


@pytest.mark.parametrize(
    ("steps", "cleanup", "place", "says"),
    [
        ([{"name": "a", "url": "/${id}"}], [], ("steps", 0, "url"), "no step before it extracts"),
        ([{"name": "a", "json": {"k": ["${x}"]}}], [], ("steps", 0, "json"), "known here: pin"),
        ([{"name": "a"}, {"name": "a"}], [], ("steps", 1, "name"), "two steps are called 'a'"),
        ([{"name": "a"}], [{"name": "b", "body": "${x}"}], ("cleanup", 0, "body"), "${x}"),
        ([{"name": "a", "extract": {"x": {"json": "x"}}}, {"name": "b", "body": "${x}${pin}"}], [], None, ""),
    ],
)
def test_a_variable_nobody_sets_is_told_at_its_key(steps: Any, cleanup: Any, place: Any, says: str) -> None:
    """Where it stands, so that the line is the right one; secrets and earlier steps' variables are known."""
    target = {"url": URL, "name": "j", "steps": steps, "cleanup": cleanup, "secrets_env": {"pin": "PIN"}}
    if place is None:
        assert len(settings(target).targets[0].steps) == 2
        return
    with pytest.raises(ValidationError) as refused:
        settings(target)
    error = refused.value.errors()[0]
    assert (error["loc"], says in error["msg"]) == (("targets", 0, *place), True)


def test_targets_are_spread_by_name() -> None:
    """Each begins at a time of its own that no other target moves, within half of the time; one alone at once."""
    many = [{"url": URL, "name": f"t{number}"} for number in range(1000)]
    read, fewer = settings(*many, interval="5s"), settings(*many[:999], interval="5s")
    begins = [read.begin_of(target) for target in read.targets]
    assert max(abs(a - fewer.begin_of(target)) for a, target in zip(begins, fewer.targets, strict=False)) == 0
    tenths = [sum(n / 10 <= begin / (read.time_limit / 2) < (n + 1) / 10 for begin in begins) for n in range(10)]
    assert min(tenths[:9]) > 70
    assert settings({"url": URL}).begin_of(settings({"url": URL}).targets[0]) == 0


def test_who_needs_the_time_begins_early() -> None:
    """A target's own deadline and limit fit after its begin."""
    many = [{"url": URL, "name": f"t{number}"} for number in range(999)]
    needy = [{"url": URL, "name": "long", "deadline": "4s"}, {"url": URL, "name": "slow", "expect": {"max_seconds": 3}}]
    read = settings(*many, *needy, interval="5s")
    long, slow = read.targets[-2:]
    assert read.deadline_of(long) == 4
    assert read.deadline_of(slow) >= 3.75
    assert all(read.begin_of(target) + read.deadline_of(target) < read.budget for target in read.targets)
