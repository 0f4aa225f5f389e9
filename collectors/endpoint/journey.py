"""A journey: requests one after the other that share variables and cookies, and the steps that clean up after it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from yarl import URL

from collectors.endpoint.answer import Answer, Reason, StepResult, shortfalls
from collectors.endpoint.exchange import Request, Response, Way
from collectors.endpoint.expect import compiled
from collectors.endpoint.faults import of_timeout, reason_for
from collectors.endpoint.json_path import MISSING, find, parsed
from collectors.endpoint.steps import Extract, Step
from collectors.endpoint.stopwatch import Stopwatch, running
from collectors.endpoint.target import Target
from collectors.endpoint.variables import filled, filled_json, names_in, written

CLEANING: Final = 0.2
"""The share of a journey's time that is kept for its clean-up."""


class Journey:
    """One run of `target`'s steps. Its variables and cookies end with it."""

    def __init__(self, target: Target, way: Way, variables: Mapping[str, Any]) -> None:
        self._target = target
        self._way = way
        self._variables = dict(variables)
        self.results: list[StepResult] = []
        """Of each step that was begun, in order; the clean-up's last."""
        self.status: int | None = None
        """Of the last answer before the clean-up."""

    async def go(self) -> None:
        """The steps, until one fails. Cancelled, the step that was under way has failed with `timeout`."""
        for step in self._target.steps:
            if (await self._made(step, cleanup=False)).reasons:
                return

    async def clean(self) -> None:
        """Each clean-up step whose variables are known, whatever became of the others."""
        # Its time is none of the probe's phases.
        self._way = replace(self._way, watch=Stopwatch())
        running.set(self._way.watch)
        for step in self._target.cleanup:
            if all(variable in self._variables for _, variable in step.asks_for()):
                await self._made(step, cleanup=True)

    async def _made(self, step: Step, *, cleanup: bool) -> StepResult:
        began = perf_counter()
        answer: Response | None = None
        try:
            answer = await self._way.ask(
                self._request(step), follow=step.follow_redirects, keep=bool(step.expect.reads_body or step.extract)
            )
        except asyncio.CancelledError:
            self._note(step, perf_counter() - began, (of_timeout(self._way.watch),), cleanup=cleanup)
            raise
        except _NotSent:
            return self._note(step, None, (Reason.EXTRACT,), cleanup=cleanup)
        except (aiohttp.ClientError, OSError) as error:
            return self._note(step, None, (reason_for(error, self._way.watch),), cleanup=cleanup)
        took = perf_counter() - began
        if not cleanup:
            self.status = answer.status
        reasons = shortfalls(step.expect, answered(answer, took))
        if not self._extracted(step, answer):
            reasons = (*reasons, Reason.EXTRACT)
        return self._note(step, took, reasons, cleanup=cleanup)

    def _note(self, step: Step, took: float | None, reasons: tuple[Reason, ...], *, cleanup: bool) -> StepResult:
        result = StepResult(name=step.name, seconds=took, reasons=reasons, cleanup=cleanup)
        self.results.append(result)
        return result

    def _request(self, step: Step) -> Request:
        """With its variables in place. Raises _NotSent where one can't stand: a line break in a header."""
        # A variable is one piece of the address: what it holds can't lead elsewhere.
        where = filled(step.url, self._variables, lambda text: quote(text, safe=""))
        given = {**self._target.headers, **step.headers}
        headers = {name: filled(value, self._variables) for name, value in given.items()}
        if not all(value.isprintable() for value in headers.values()):
            raise _NotSent
        body: bytes | str | None = None
        if step.json_ is not None:
            body = orjson.dumps(filled_json(step.json_, self._variables))
            headers.setdefault("content-type", "application/json")
        elif step.form is not None:
            body = urlencode({name: filled(value, self._variables) for name, value in step.form.items()})
            headers.setdefault("content-type", "application/x-www-form-urlencoded")
        elif step.body is not None:
            body = filled(step.body, self._variables)
        base = URL(self._target.url)
        # encoded=True: what was quoted must stay quoted, a slash in a variable above all.
        url = base.join(URL(where, encoded=True)) if where else base
        if url.scheme not in ("http", "https") or not url.host:
            raise _NotSent
        private = {name for name, value in given.items() if any(names_in(value))}
        if any(names_in([step.json_, step.form, step.body])):
            private.add("")
        return Request(method=step.method, url=url, headers=headers, body=body, private=frozenset(private))

    def _extracted(self, step: Step, answer: Response) -> bool:
        """True when every variable was found."""
        whole = True
        for variable, place in step.extract.items():
            found = self._found(place, answer)
            if found is MISSING:
                whole = False
            else:
                self._variables[variable] = found
        return whole

    def _found(self, place: Extract, answer: Response) -> Any:
        found: Any = answer.body
        if place.json_ is not None:
            try:
                found = find(orjson.loads(answer.body), parsed(place.json_))
            except orjson.JSONDecodeError:
                return MISSING
        elif place.header is not None:
            found = answer.headers.get(place.header, MISSING)
        elif place.cookie is not None:
            kept = self._way.jar.filter_cookies(answer.url) if self._way.jar is not None else {}
            found = kept[place.cookie].value if place.cookie in kept else MISSING
        if found is MISSING or place.matches is None:
            return found
        match = compiled(place.matches).search(written(found))
        return MISSING if match is None else match.group(1 if match.re.groups else 0)


class _NotSent(Exception):
    """The request could not be made of the variables."""


def answered(response: Response, took: float) -> Answer:
    """A response as what is judged."""
    return Answer(
        total=took, status=response.status, body=response.body, headers=response.headers, url=str(response.url)
    )
