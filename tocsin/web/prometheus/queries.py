"""query, query_range and query_exemplars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tocsin.model import Seconds
from tocsin.promql import DEFAULT_LIMITS, Limits, Matrix, Result, Round, Storage, Type, Vector, evaluate_range
from tocsin.web.form import Form, form_of
from tocsin.web.inside import Inside
from tocsin.web.prometheus import encoding
from tocsin.web.prometheus.answers import TRUNCATED, ApiError, envelope, invalid, success
from tocsin.web.prometheus.parameters import duration_of, limit_of, plan_of, required_time, step_of, time_of
from tocsin.web.reading import Work
from tocsin.web.streaming import Body, respond

LOOKBACK: Final[Seconds] = 300.0


@dataclass(frozen=True)
class Queries:
    """The endpoints that evaluate."""

    inside: Inside

    async def query(self, request: Request) -> Response:
        """An expression at one instant."""
        form = await form_of(request)
        at = time_of(form, "time", self.inside.clock.now())
        assert at is not None
        plan, lookback, limit = plan_of(form), _lookback(form), limit_of(form)

        def work(storage: Storage, limits: Limits) -> Body:
            found = Round(storage, at, limits=limits, lookback=lookback).evaluate(plan)
            return Body.begun(_answer(found, limit))

        return await self._respond(request, form, work)

    async def query_range(self, request: Request) -> Response:
        """An expression at many instants."""
        form = await form_of(request)
        start, end = required_time(form, "start"), required_time(form, "end")
        if end < start:
            raise invalid("end", "end timestamp must not be before start time")
        step, lookback, limit = step_of(form), _lookback(form), limit_of(form)
        if (end - start) / timedelta(seconds=step) > DEFAULT_LIMITS.steps:
            raise ApiError(
                "bad_data",
                f"exceeded maximum resolution of {DEFAULT_LIMITS.steps:,} points per timeseries. "
                "Try decreasing the query resolution (?step=XX)",
            )
        plan = plan_of(form)
        if plan.type not in (Type.SCALAR, Type.VECTOR):
            why = f'invalid expression type "{plan.type.value}" for range query, must be Scalar or instant Vector'
            raise ApiError("bad_data", why)

        def work(storage: Storage, limits: Limits) -> Body:
            # Prometheus admits one step more than it says.
            limits = replace(limits, steps=limits.steps + 1)
            found = evaluate_range(plan, storage, start, end, step, limits=limits, lookback=lookback)
            return Body.begun(_answer(found, limit))

        return await self._respond(request, form, work)

    async def _respond(self, request: Request, form: Form, work: Work[Body]) -> Response:
        limit = duration_of(form, "timeout")
        return respond(request, await self.inside.reader.run(work, request=request, limit=limit))

    async def exemplars(self, request: Request) -> Response:
        """None are kept."""
        form = await form_of(request)
        start, end = required_time(form, "start"), required_time(form, "end")
        if end < start:
            raise ApiError("bad_data", "end timestamp must not be before start timestamp")
        plan_of(form)
        return success(request, [])


def _lookback(form: Form) -> Seconds:
    lookback = duration_of(form, "lookback_delta")
    if lookback is not None and lookback <= 0:
        raise ApiError("bad_data", "error parsing lookback delta duration: it must be above 0")
    return LOOKBACK if lookback is None else lookback


def _answer(found: Result, limit: int) -> Iterator[bytes]:
    warnings = list(found.annotations.warnings)
    if limit and isinstance(found, (Vector, Matrix)) and len(found) > limit:
        warnings.append(TRUNCATED)
    return envelope(encoding.result(found, limit), warnings=warnings, infos=found.annotations.infos)
