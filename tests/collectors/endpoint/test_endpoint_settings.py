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
        ({"url": "app.example/healthz"}, "is not an http://, https://, tcp:// or tls:// address"),
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
