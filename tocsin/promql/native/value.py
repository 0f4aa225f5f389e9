"""The native histogram: a value of exponential or custom buckets.

Source of the bucket layout and of what is equal: prometheus/model/histogram, FloatHistogram.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

CUSTOM: Final = -53
"""The schema whose bounds are listed; -4 to 8 are exponential, a bucket's bounds 2^(2^-schema) apart."""
SCHEMAS: Final = (*range(-4, 9), CUSTOM)


class Hint(StrEnum):
    """What is known of the counter behind a histogram, since the sample before."""

    UNKNOWN = "unknown"
    RESET = "reset"
    NOT_RESET = "not_reset"
    GAUGE = "gauge"
    """It is no counter."""


class Incompatible(ValueError):
    """Exponential and custom buckets: nothing can be said of both at once."""


class Bucket(NamedTuple):
    """Observations between two bounds; the upper one is included where it is positive or the bounds are custom."""

    lower: float
    upper: float
    held: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """A native histogram. Its mappings are never written to. Invariant: no bucket of 0 is kept."""

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_threshold: float = 0.0
    """Observations from minus this to this are counted in `zero_count`."""
    zero_count: float = 0.0
    positive: Mapping[int, float] = field(default_factory=dict)
    """Bucket i reaches up to 2^(i · 2^-schema); with custom bounds, to `bounds[i]`, and the last has no end."""
    negative: Mapping[int, float] = field(default_factory=dict)
    """As `positive`, mirrored."""
    bounds: tuple[float, ...] = ()
    """The upper bounds of custom buckets, rising, +Inf left out."""
    hint: Hint = Hint.UNKNOWN

    @property
    def custom(self) -> bool:
        """True for listed bounds."""
        return self.schema == CUSTOM

    def upper(self, index: int) -> float:
        """The bound up to which positive bucket `index` reaches."""
        if self.custom:
            return self.bounds[index] if index < len(self.bounds) else math.inf
        return power(index, self.schema)

    def _lower(self, index: int) -> float:
        if self.custom:
            return self.bounds[index - 1] if index else -math.inf
        return power(index - 1, self.schema)

    def buckets(self) -> Iterator[Bucket]:
        """Every bucket that counts something, from the lowest values up."""
        for index in sorted(self.negative, reverse=True):
            yield Bucket(-self.upper(index), -self._lower(index), self.negative[index])
        if self.zero_count:
            yield Bucket(-self.zero_threshold, self.zero_threshold, self.zero_count)
        for index in sorted(self.positive):
            yield Bucket(self._lower(index), self.upper(index), self.positive[index])

    def hinted(self, hint: Hint) -> Histogram:
        """The same with another hint."""
        return self if hint is self.hint else replace(self, hint=hint)

    def between_others(self) -> Histogram:
        """What is left to say of it where the sample before is another one."""
        return self if self.hint is Hint.GAUGE else self.hinted(Hint.UNKNOWN)

    def equals(self, other: Histogram) -> bool:
        """The same observations in the same buckets; NaN is NaN, and hints do not count."""
        return (
            self.schema == other.schema
            and self.bounds == other.bounds
            and _same(self.count, other.count)
            and _same(self.sum, other.sum)
            and (self.zero_threshold, self.zero_count) == (other.zero_threshold, other.zero_count)
            and self.positive == other.positive
            and self.negative == other.negative
        )


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def power(index: int, schema: int) -> float:
    """2^(index · 2^-schema), exact where it is a power of two."""
    if schema < 0:
        exponent, share = index << -schema, 1.0
    else:
        exponent, part = divmod(index, 1 << schema)
        share = 2.0 ** (part / (1 << schema))
    try:
        return math.ldexp(share, exponent)
    except OverflowError:
        return math.inf
