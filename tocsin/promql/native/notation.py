"""Native histograms as text: `{{schema:0 sum:5 count:4 buckets:[1 2 1]}}`, and as Prometheus shows them.

    schema sum count               numbers; what is left out is 0
    buckets offset                 positive buckets, the first of them at bucket `offset`
    n_buckets n_offset             negative ones
    z_bucket z_bucket_w            observations in the zero bucket, and how far it reaches
    custom_values                  the upper bounds of schema -53
    counter_reset_hint             unknown, reset, not_reset or gauge

Source: Prometheus' documentation of unit tests for rules; FloatHistogram.TestExpression() and String().
"""

from __future__ import annotations

import re
from typing import Final

from tocsin.promql.native.arithmetic import added, compact, subtracted
from tocsin.promql.native.value import CUSTOM, SCHEMAS, Hint, Histogram, Incompatible

ITEM: Final = re.compile(r"\{\{(?P<from>[^}]*)\}\}(?:(?P<sign>[-+])\{\{(?P<by>[^}]*)\}\})?(?:x(?P<times>\d+))?")
"""A histogram, with what is added to it how often: `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3`."""

_FIELD: Final = re.compile(r"\s*(\w+)\s*:\s*(?:\[([^\]]*)\]|([^\s\[\]]+))\s*")
_LISTS: Final = ("buckets", "n_buckets", "custom_values")
_NUMBERS: Final = ("sum", "count", "z_bucket", "z_bucket_w")
_WHOLE: Final = ("schema", "offset", "n_offset")


def parse_histogram(text: str) -> Histogram:
    """What stands between the braces. Raises ValueError that says what is wrong."""
    lists: dict[str, list[float]] = {}
    numbers: dict[str, float] = {}
    whole: dict[str, int] = {}
    hint = Hint.UNKNOWN
    at = 0
    while at < len(text.rstrip()):
        found = _FIELD.match(text, at)
        if found is None:
            raise ValueError(f"unreadable at {text[at:].strip()!r}: write name:value")
        name, listed, single = found.groups()
        if name in _LISTS and listed is not None:
            lists[name] = [float(value) for value in listed.split()]
        elif name in _NUMBERS and single is not None:
            numbers[name] = float(single)
        elif name in _WHOLE and single is not None:
            whole[name] = int(single)
        elif name == "counter_reset_hint" and single in list(Hint):
            hint = Hint(single)
        else:
            raise ValueError(f"{found.group().strip()!r} says nothing of a native histogram")
        at = found.end()
    schema = whole.get("schema", 0)
    if schema not in SCHEMAS:
        raise ValueError(f"schema {schema} is none of -4 to 8 and {CUSTOM}")
    return Histogram(
        schema=schema, hint=hint, sum=numbers.get("sum", 0.0), count=numbers.get("count", 0.0),
        zero_count=numbers.get("z_bucket", 0.0), zero_threshold=numbers.get("z_bucket_w", 0.0),
        positive=_placed(lists.get("buckets", []), whole.get("offset", 0)),
        negative=_placed(lists.get("n_buckets", []), whole.get("n_offset", 0)),
        bounds=tuple(lists.get("custom_values", [])),
    )  # fmt: skip


def _placed(counts: list[float], offset: int) -> dict[int, float]:
    return compact({offset + place: count for place, count in enumerate(counts)})


def parse_run(found: re.Match[str]) -> list[Histogram]:
    """The histograms of a match of ITEM, one by one. Raises ValueError."""
    value, more = parse_histogram(found["from"]), int(found["times"] or 0)
    if found["by"] is None:
        return [value] * (more + 1)
    change = parse_histogram(found["by"])
    run = [value]
    try:
        for _ in range(more):
            value = (subtracted if found["sign"] == "-" else added)(value, change).value
            run.append(value)
    except Incompatible as error:
        raise ValueError(f"{error} can't be added") from None
    return run


def expression(histogram: Histogram) -> str:
    """`{{…}}`, as promtool writes it: what is 0 is left out, a hint that is not known as well."""
    parts = [f"schema:{histogram.schema}"] if histogram.schema else []
    parts += [f"{name}:{_go(value)}" for name, value in (("count", histogram.count), ("sum", histogram.sum)) if value]
    if histogram.hint is not Hint.UNKNOWN:
        parts.append(f"counter_reset_hint:{histogram.hint}")
    if histogram.zero_count:
        parts.append(f"z_bucket:{_go(histogram.zero_count)}")
    if histogram.zero_threshold:
        parts.append(f"z_bucket_w:{_go(histogram.zero_threshold)}")
    if histogram.custom:
        parts.append(f"custom_values:[{' '.join(map(_go, histogram.bounds))}]")
    for prefix, buckets in (("", histogram.positive), ("n_", histogram.negative)):
        if buckets:
            first, last = min(buckets), max(buckets)
            parts += [f"{prefix}offset:{first}"] if first else []
            counts = " ".join(_go(buckets.get(index, 0.0)) for index in range(first, last + 1))
            parts.append(f"{prefix}buckets:[{counts}]")
    return "{{" + " ".join(parts) + "}}"


def shown(histogram: Histogram) -> str:
    """`{count:4, sum:5, (0.5,1]:1, …}`, as in a label of count_values."""
    parts = [f"count:{_go(histogram.count)}", f"sum:{_go(histogram.sum)}"]
    for lower, upper, count in histogram.buckets():
        inside = lower < 0 < upper and not histogram.custom
        left = "[" if inside or (lower < 0 and not histogram.custom) else "("
        right = "]" if inside or upper > 0 or histogram.custom else ")"
        parts.append(f"{left}{_go(lower)},{_go(upper)}{right}:{_go(count)}")
    return "{" + ", ".join(parts) + "}"


def _go(value: float) -> str:
    """As Go's %g writes a number, in the shortest digits that read back the same."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    mantissa, _, exponent = f"{value!r}".partition("e")
    if exponent:
        sign, digits = exponent[0] if exponent[0] in "+-" else "+", exponent.lstrip("+-")
        return f"{mantissa.removesuffix('.0')}e{sign}{digits.zfill(2)}"
    return mantissa.removesuffix(".0")
