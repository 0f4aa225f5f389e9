"""The endpoint collector: every target probed at once, each told as soon as it is known."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta

from collectors.endpoint.answer import Answer, Reason, shortfalls
from collectors.endpoint.probe import Prober, Secrets
from collectors.endpoint.samples import Tally, samples_of, standing_of, verdict_of
from collectors.endpoint.secrets import secrets_of, with_paths
from collectors.endpoint.settings import EndpointSettings
from collectors.endpoint.target import Target
from collectors.endpoint.uptime import Uptime
from tocsin.errors import CollectError, StateError
from tocsin.model import Blind, Labels, Sample
from tocsin.ports import CollectorContext
from tocsin.tasks import end_tasks

_Found = asyncio.Queue[tuple[Sample | Blind, ...] | Exception | Target]
"""What a probe has to say, an error nobody foresaw, and at its end the target."""


_SAVE_EVERY = timedelta(minutes=5)


class EndpointCollector:
    """Probes `settings.targets`. What it counts lives as long as it does: a restart is an ordinary counter
    reset; uptime is kept."""

    def __init__(self, settings: EndpointSettings, context: CollectorContext) -> None:
        self._settings = settings
        self._targets = tuple(with_paths(target, context.folder) for target in settings.targets)
        self._prober: Prober | None = None
        self._tallies: dict[str, Tally] = {}
        self._checkpoint = context.checkpoint
        self._uptime: Uptime | None = None
        self._saved_at: datetime | None = None

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """One probe of each target. Raises what a probe did not foresee, after the others have had their say."""
        prober = self._opened()
        uptime = await self._remembered()
        found: _Found = asyncio.Queue()
        places = asyncio.Semaphore(self._settings.concurrency)
        tasks = [asyncio.create_task(self._watch(prober, target, at, places, found)) for target in self._targets]
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
                            if isinstance(item, Sample) and item.name == "tocsin_endpoint_up":
                                uptime.add(item.labels["instance"], at.timestamp(), up=item.value == 1)
        finally:
            await end_tasks(*tasks)
        for target in self._targets:
            for sample in standing_of(target, at, uptime.ratios(target.instance, at.timestamp())):
                yield sample
        await self._save(uptime, at)
        why = (
            f"more targets than {self._settings.concurrency} places could serve in time; raise concurrency or interval"
        )
        for instance in sorted(unfinished):
            yield Blind(why=f"{instance}: {why}", labels=Labels(instance=instance))
        if surprise is not None:
            raise surprise

    async def _remembered(self) -> Uptime:
        if self._uptime is None:
            self._uptime = Uptime.read(await self._checkpoint.load())
            self._uptime.keep(frozenset(target.instance for target in self._targets))
        return self._uptime

    async def _save(self, uptime: Uptime, at: datetime) -> None:
        """Now and then: a month by the hour is not written at every poll."""
        if self._saved_at is None or not timedelta() <= at - self._saved_at < _SAVE_EVERY:
            await self._checkpoint.save(await asyncio.to_thread(uptime.dump))
            self._saved_at = at

    def _opened(self) -> Prober:
        if self._prober is None:
            self._prober = Prober(body_limit=self._settings.body_limit)
            for target in self._targets:
                # Before the poll's time begins to run. A file that can't be read is its own target's matter.
                with suppress(OSError):
                    self._prober.prepare(target.tls, target.http)
        return self._prober

    async def _watch(
        self, prober: Prober, target: Target, at: datetime, places: asyncio.Semaphore, found: _Found
    ) -> None:
        try:
            await asyncio.sleep(self._settings.begin_of(target))
            async with places:
                await self._probe(prober, target, at, found)
        except (CollectError, OSError) as error:
            found.put_nowait((Blind(why=f"{target.instance}: {error}", labels=Labels(instance=target.instance)),))
        except Exception as error:  # noqa: BLE001 (handed on: collect raises it when the other targets are done)
            found.put_nowait(error)
        found.put_nowait(target)

    async def _probe(self, prober: Prober, target: Target, at: datetime, found: _Found) -> None:
        aliases, limit = self._settings.blackbox_names, target.expect.max_seconds
        probe = asyncio.create_task(self._tried(prober, target, secrets_of(target)))
        told_slow = False
        try:
            # With retries a slow try is one that failed, and is made again.
            if limit is not None and not target.retries:
                done, _ = await asyncio.wait({probe}, timeout=limit)
                if not done:
                    told_slow = True
                    found.put_nowait(tuple(verdict_of(target, at, (Reason.SLOW,), aliases=aliases)))
            answer, tries = await probe
        except ssl.SSLError as error:
            raise CollectError(f"ca_file, cert_file or key_file is no PEM file: {error}") from None
        finally:
            probe.cancel()
        said = samples_of(
            target, answer, at, self._tally(target, at), tries=tries, told_slow=told_slow, aliases=aliases
        )
        found.put_nowait(tuple(said))

    async def _tried(self, prober: Prober, target: Target, secrets: Secrets) -> tuple[Answer, int]:
        """The last try's answer, and how many there were. Each may take its share of the time that is left."""
        clock = asyncio.get_running_loop().time
        ends = clock() + self._settings.deadline_of(target)
        for tries in range(1, target.retries + 2):
            answer = await prober.probe(target, secrets, (ends - clock()) / (target.retries + 2 - tries))
            if not shortfalls(target.expect, answer) or ends <= clock():
                break
        return answer, tries

    def _tally(self, target: Target, at: datetime) -> Tally:
        if target.instance not in self._tallies:
            # Nothing was counted a poll ago: that makes the first failure after a start a rise from zero.
            since = at - timedelta(seconds=self._settings.interval)
            self._tallies[target.instance] = Tally(bounds=self._settings.buckets, since=since)
        return self._tallies[target.instance]

    async def close(self) -> None:
        if self._uptime is not None:
            with suppress(StateError):
                await self._checkpoint.save(self._uptime.dump())
        if self._prober is not None:
            await self._prober.close()
            self._prober = None
