"""The endpoint collector's keys in config.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Final, Self

from pydantic import Field, model_validator

from collectors.endpoint.target import Target
from tocsin.model import Seconds
from tocsin.ports import CollectorSettings

_DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
# The runtime cancels a poll at its time limit; probes end a little before, so that what they found is still told.
_WITHIN_POLL: Final = 0.95
_SPACING: Final[Seconds] = 0.005
_SLOW_NEEDS: Final = 1.25
"""How much longer than its `max_seconds` a target is waited for at least: what answers late still tells its status."""


class EndpointSettings(CollectorSettings):
    """`kind: endpoint`."""

    targets: tuple[Target, ...] = Field(min_length=1)
    concurrency: int = Field(default=100, ge=1, le=10_000, description="probes under way at once, at most")
    body_limit: int = Field(default=1 << 20, ge=1, le=64 << 20, description="bytes of a body that are looked at")
    buckets: tuple[float, ...] = Field(
        default=_DEFAULT_BUCKETS, min_length=1, description="of the histogram, in seconds"
    )
    blackbox_names: bool = Field(default=True, description="also yield blackbox_exporter's probe_* series")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: set[str] = set()
        for target in self.targets:
            if target.instance in seen:
                raise ValueError(f"two targets are called {target.instance!r}; give one of them another `name`")
            seen.add(target.instance)
            if target.deadline is not None and target.deadline > self.time_limit:
                raise ValueError(
                    f"target {target.instance!r}: its deadline ({target.deadline:g}s) is past the collector's "
                    f"({self.time_limit:g}s); raise the collector's `deadline` or `interval`"
                )
            limit = target.expect.max_seconds
            if limit is not None and limit >= self.deadline_of(target):
                raise ValueError(
                    f"target {target.instance!r}: expect.max_seconds ({limit:g}s) is not below its deadline "
                    f"({self.deadline_of(target):g}s); raise the collector's `deadline` or `interval`"
                )
            tries = target.retries + 1
            if limit is not None and limit * tries >= self.deadline_of(target):
                raise ValueError(
                    f"target {target.instance!r}: {tries} tries of expect.max_seconds ({limit:g}s) don't fit into its "
                    f"deadline ({self.deadline_of(target):g}s); lower `retries`, or raise the collector's `deadline`"
                )
        if any(not low < high for low, high in pairwise(self.buckets)) or self.buckets[0] <= 0:
            raise ValueError("buckets must be positive and rise")
        return self

    @property
    def subjects(self) -> Sequence[Mapping[str, str]]:
        """Its targets."""
        return [{"instance": target.instance} for target in self.targets]

    @property
    def budget(self) -> Seconds:
        """How long a poll's probes may take together."""
        return self.time_limit * _WITHIN_POLL

    @property
    def _end(self) -> Seconds:
        """When the last probe must have ended, counted from the poll's begin."""
        return self.budget * _WITHIN_POLL

    def begin_of(self, target: Target) -> Seconds:
        """When a probe of `target` begins, counted from the poll's begin: always the same, and another for each.

        Many at one instant would wait for each other and for the peer: they are spread, 5 ms for each, over half of
        the time at most, and never so far that a target's own deadline or limit would not fit any more.
        """
        slowest = (target.expect.max_seconds or 0.0) * (target.retries + 1)
        needs = max(target.deadline or 0.0, slowest * _SLOW_NEEDS)
        spread = min(len(self.targets) * _SPACING, self._end / 2, max(0.0, self._end - needs))
        return spread * _place(target.instance) if len(self.targets) > 1 else 0.0

    def deadline_of(self, target: Target) -> Seconds:
        """When a probe of `target` is given up, counted from its begin."""
        return min(target.deadline or self.time_limit, self._end - self.begin_of(target))


@lru_cache(maxsize=65_536)
def _place(instance: str) -> float:
    """0 to 1, by name: a target that is added moves no other."""
    return int.from_bytes(blake2b(instance.encode(), digest_size=8).digest()) / 2**64
