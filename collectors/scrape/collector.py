"""The scrape collector: every target at once, each told as soon as it is read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from collectors.scrape.declarations import METRICS
from collectors.scrape.fetch import Fetcher, ScrapeFailed
from collectors.scrape.parse import BrokenLine, Exposition
from collectors.scrape.samples import TargetState
from collectors.scrape.settings import ScrapeSettings, Target, Tls
from tocsin.errors import CollectError, StateError
from tocsin.model import Blind, Labels, Sample
from tocsin.ports import CollectorContext
from tocsin.tasks import end_tasks

_AT_ONCE: Final = 2000
"""Lines read and samples told before other work of the daemon has its turn."""
_OWN: Final = frozenset(metric.name for metric in METRICS)
_WHEN_GOOD: Final = frozenset({"tocsin_scrape_samples_dropped"})
"""Of them, those that a failed scrape does not tell."""

_Found = asyncio.Queue[tuple[Sample | Blind, ...] | Exception | Target]
"""What a scrape has to say, an error nobody foresaw, and at its end the target."""


class ScrapeCollector:
    """Scrapes `settings.targets`. Which names each target showed is kept across restarts, to say what is unknown."""

    def __init__(self, settings: ScrapeSettings, context: CollectorContext) -> None:
        self._settings = settings
        self._context = context
        self._targets = tuple(_with_paths(target, context.folder) for target in settings.targets)
        self._states = {t.instance: TargetState(t, settings.new_series_from_zero) for t in self._targets}
        self._fetcher: Fetcher | None = None
        self._saved: bytes | None = None

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """One scrape of each target. Raises what a scrape did not foresee, after the others have had their say."""
        fetcher = await self._opened()
        found: _Found = asyncio.Queue()
        places = asyncio.Semaphore(self._settings.concurrency)
        tasks = [asyncio.create_task(self._watch(fetcher, target, at, places, found)) for target in self._targets]
        unfinished = {target.instance for target in self._targets}
        surprise: Exception | None = None
        ends = asyncio.get_running_loop().time() + self._settings.budget
        try:
            with suppress(TimeoutError):
                while unfinished:
                    async with asyncio.timeout_at(ends):
                        said = await found.get()
                    if isinstance(said, Target):
                        unfinished.discard(said.instance)
                    elif isinstance(said, Exception):
                        surprise = said
                    else:
                        for item in said:
                            yield item
        finally:
            await end_tasks(*tasks)
        for instance in sorted(unfinished):
            why = "not done when the poll had to end; raise concurrency, interval or deadline"
            yield self._blind(self._states[instance], why)
        await self._save()
        if surprise is not None:
            raise surprise

    async def close(self) -> None:
        if self._fetcher is not None:
            await self._fetcher.close()
            self._fetcher = None

    async def _watch(
        self, fetcher: Fetcher, target: Target, at: datetime, places: asyncio.Semaphore, found: _Found
    ) -> None:
        state = self._states[target.instance]
        try:
            async with places:
                await self._scrape(fetcher, state, at, found)
        except (CollectError, OSError) as error:
            found.put_nowait((self._blind(state, str(error)),))
        except Exception as error:  # noqa: BLE001 (handed on: collect raises it when the other targets are done)
            found.put_nowait(error)
        found.put_nowait(target)

    async def _scrape(self, fetcher: Fetcher, state: TargetState, at: datetime, found: _Found) -> None:
        target, clock = state.target, asyncio.get_running_loop().time
        secrets, began = _secrets_of(target), clock()
        try:
            body = await fetcher.get(target, secrets, self._settings.deadline_of(target))
            exposition = Exposition(open_metrics=body.open_metrics)
            lines = body.text.split("\n")
            for start in range(0, len(lines), _AT_ONCE):
                state.parser.feed(exposition, lines[start : start + _AT_ONCE])
                if len(exposition.rows) > target.sample_limit:
                    limit = target.sample_limit
                    raise ScrapeFailed(f"exposes more than {limit} samples (sample_limit); raise it, or expose less")
                await asyncio.sleep(0)
            state.parser.finish(exposition)
        except (ScrapeFailed, BrokenLine) as failure:
            found.put_nowait(tuple(state.report(at, up=False, took=clock() - began)))
            found.put_nowait((self._blind(state, str(failure), scraped=True),))
            return
        found.put_nowait(tuple(state.report(at, up=True, took=clock() - began, scraped=len(exposition.rows))))
        samples = state.samples(exposition, at)
        while part := tuple(islice(samples, _AT_ONCE)):
            found.put_nowait(part)
            await asyncio.sleep(0)
        found.put_nowait((state.sample("tocsin_scrape_samples_dropped", float(state.dropped), at),))

    def _blind(self, state: TargetState, why: str, *, scraped: bool = False) -> Blind:
        # That `up` is 0 is known when a scrape was tried: a rule on it must not be held up by what is unknown.
        instance, own = state.target.instance, _WHEN_GOOD if scraped else _OWN
        return Blind(why=f"{instance}: {why}", metrics=own.union(state.names), labels=Labels(instance=instance))

    async def _opened(self) -> Fetcher:
        if self._saved is None:
            self._saved = await self._context.checkpoint.load() or b"{}"
            for instance, names in _names_in(self._saved).items():
                if instance in self._states:
                    self._states[instance].names = names
        if self._fetcher is None:
            self._fetcher = Fetcher()
            for target in self._targets:
                # Before the poll's time begins to run. A file that can't be read is its own target's matter.
                with suppress(OSError):
                    self._fetcher.prepare(target)
        return self._fetcher

    async def _save(self) -> None:
        names = {instance: sorted(state.names) for instance, state in sorted(self._states.items())}
        blob = orjson.dumps(names)
        if blob != self._saved:
            with suppress(StateError):  # only says what is unknown after a restart; tried again at the next poll
                await self._context.checkpoint.save(blob)
                self._saved = blob


def _names_in(blob: bytes) -> dict[str, set[str]]:
    try:
        return {str(instance): {str(name) for name in names} for instance, names in orjson.loads(blob).items()}
    except (ValueError, AttributeError, TypeError):
        return {}  # of an older form: the names are learned anew


def _secrets_of(target: Target) -> dict[str, str]:
    """The headers that hold secrets. Read at every scrape, so that a rotated token file is taken up."""
    secrets = {header: _from_env(variable) for header, variable in target.headers_env.items()}
    if target.bearer_token_env:
        secrets["authorization"] = f"Bearer {_from_env(target.bearer_token_env)}"
    if target.bearer_token_file:
        token = Path(target.bearer_token_file).read_text(encoding="utf-8").strip()
        if not token or not token.isascii() or not token.isprintable():
            raise CollectError(f"{target.bearer_token_file} is not one line of text; write the token and nothing else")
        secrets["authorization"] = f"Bearer {token}"
    return secrets


def _from_env(variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise CollectError(f"the environment variable {variable} is not set; set it where the daemon is started")
    if not value.isprintable():
        raise CollectError(f"the environment variable {variable} holds line breaks; a header can't")
    return value


def _with_paths(target: Target, folder: Path) -> Target:
    """`target` with its files relative to `folder`."""

    def resolved(model: Tls | Target, *names: str) -> dict[str, str]:
        return {name: str(folder / path) for name in names if (path := getattr(model, name))}

    tls = target.tls.model_copy(update=resolved(target.tls, "ca_file", "cert_file", "key_file"))
    return target.model_copy(update={**resolved(target, "bearer_token_file"), "tls": tls})
