"""OSV, the advisory database, over HTTP (https://google.github.io/osv.dev/api/)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

import aiohttp

from collectors.dependencies.package_lock import Package
from collectors.dependencies.report import Finding, Severity, lowest_above, rated
from tocsin.errors import CollectError
from tocsin.model import Seconds

_BATCH: Final = 1000
"""Questions in one request, at most."""
_PAGES: Final = 20
_ONE_REQUEST: Final[Seconds] = 15.0


class Osv:
    """Asks the database at `url`. An async context manager; what was asked once is remembered until it closes."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._records: dict[str, Mapping[str, Any]] = {}

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ONE_REQUEST))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def npm(self, packages: Sequence[Package]) -> list[Finding]:
        """Every known vulnerability of `packages`. Raises CollectError when one could not be looked up."""
        affected: list[tuple[Package, str]] = []
        for begin in range(0, len(packages), _BATCH):
            affected += await self._batch(packages[begin : begin + _BATCH])
        findings = []
        for package, name in affected:
            record = await self.record(name)
            if record.get("withdrawn"):
                continue
            aliases = tuple(map(str, record.get("aliases", ())))
            findings.append(
                Finding(
                    package=package.name,
                    version=package.version,
                    id=name,
                    aliases=aliases,
                    fixed_in=fixed_in(record, package),
                    severity=await self.severity((name, *aliases)),
                )
            )
        return findings

    async def _batch(self, packages: Sequence[Package]) -> list[tuple[Package, str]]:
        """(package, id) of what affects it; a long answer comes in pages."""
        found: list[tuple[Package, str]] = []
        open_: list[tuple[Package, str]] = [(package, "") for package in packages]
        for _ in range(_PAGES):
            if not open_:
                return found
            queries = [
                {
                    "package": {"name": package.name, "ecosystem": "npm"},
                    "version": package.version,
                    **({"page_token": page} if page else {}),
                }
                for package, page in open_
            ]
            results = await self._results(queries)
            found += [
                (package, str(vulnerability["id"]))
                for (package, _), result in zip(open_, results, strict=True)
                for vulnerability in result.get("vulns") or ()
            ]
            open_ = [
                (package, str(result["next_page_token"]))
                for (package, _), result in zip(open_, results, strict=True)
                if result.get("next_page_token")
            ]
        raise CollectError(f"{self._url} has not come to an end in {_PAGES} pages; is osv_url right?")

    async def _results(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            async with self._http.post(f"{self._url}/v1/querybatch", json={"queries": queries}) as answer:
                if answer.status != 200:
                    raise CollectError(f"{self._url} answered {answer.status}; open the way to it, or name a mirror")
                said = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise CollectError(f"{self._url} can't be asked: {why}; open the way to it, or name a mirror") from None
        results = said.get("results") if isinstance(said, dict) else None
        if not isinstance(results, list) or len(results) != len(queries):
            raise CollectError(f"{self._url} did not answer every question; is osv_url right?")
        return results

    async def severity(self, names: Iterable[str]) -> Severity:
        """The first of `names` (an id and its aliases) that somebody rated; unknown where none is. Raises CollectError
        when one can't be asked: what was known to be high must not become unknown for that."""
        for name in names:
            # OSV's ids of packages that are the attack themselves: https://github.com/ossf/malicious-packages
            if name.startswith("MAL-"):
                return Severity.CRITICAL
            if (found := rated(await self.record(name))) is not Severity.UNKNOWN:
                return found
        return Severity.UNKNOWN

    async def record(self, name: str) -> Mapping[str, Any]:
        """The record; empty where there is none. Raises CollectError."""
        if name not in self._records:
            self._records[name] = await self._fetched(name)
        return self._records[name]

    async def _fetched(self, name: str) -> Mapping[str, Any]:
        try:
            async with self._http.get(f"{self._url}/v1/vulns/{name}") as answer:
                if answer.status >= 500 or answer.status == 429:
                    raise CollectError(f"{self._url} answered {answer.status} for {name}; it is asked again later")
                record = await answer.json(content_type=None) if answer.status == 200 else {}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise CollectError(f"{self._url} can't be asked for {name}: {why}; it is asked again later") from None
        return record if isinstance(record, dict) else {}


def fixed_in(record: Mapping[str, Any], package: Package) -> str:
    """The lowest release above the package's that `record` says mends it; empty: none."""
    fixes = [
        str(event["fixed"])
        for affected in record.get("affected", ())
        if affected.get("package", {}).get("name") == package.name
        for span in affected.get("ranges", ())
        for event in span.get("events", ())
        if "fixed" in event
    ]
    return lowest_above(fixes, package.version)
