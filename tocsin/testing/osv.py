"""A stand-in for OSV, the advisory database: the calls that an audit makes, on a loopback port.

`POST /v1/query` answers with the records that affect a package at a version, `/v1/querybatch` with the ids for many, a
page at a time, `GET /v1/vulns/ID` with one record (https://google.github.io/osv.dev/api/). Here a record lists its
`versions`; ranges are not worked out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


def advisory(
    id: str,
    package: str,
    *versions: str,
    severity: str = "",
    fixed: str = "",
    aliases: tuple[str, ...] = (),
    ecosystem: str = "PyPI",
) -> dict[str, Any]:
    """An OSV record, as GHSA's are; without `severity` as PYSEC's, which rate nothing."""
    return {
        "schema_version": "1.7.3",
        "id": id,
        "aliases": list(aliases),
        "summary": f"{package} can be misused",
        "affected": [
            {
                "package": {"name": package, "ecosystem": ecosystem},
                "ranges": [
                    {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]}
                ],
                "versions": list(versions),
            }
        ],
        **({"database_specific": {"severity": severity}} if severity else {}),
    }


@dataclass
class FakeOsv:
    """Serves `records`; `status` other than 200 is answered to everything, as when the database is down."""

    records: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    records_status: int = 200
    """Of single records alone, as when the limit of requests is reached in the middle of a scan."""
    page: int = 100
    """Ids of a package in one answer to /v1/querybatch."""
    asked: list[str] = field(default_factory=list)
    """`package==version` of each query, in order."""
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/query", self._query)
        app.router.add_post("/v1/querybatch", self._batch)
        app.router.add_get("/v1/vulns/{id}", self._record)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _query(self, request: web.Request) -> web.Response:
        found = self._affecting(await request.json())
        if self.status != 200:
            return web.json_response({"code": 13, "message": "internal"}, status=self.status)
        return web.json_response({"vulns": found} if found else {})

    async def _batch(self, request: web.Request) -> web.Response:
        results: list[dict[str, Any]] = []
        for wanted in (await request.json())["queries"]:
            begin = int(wanted.get("page_token", 0))
            ids = [{"id": record["id"], "modified": "2026-01-01T00:00:00Z"} for record in self._affecting(wanted)]
            more = {"next_page_token": str(begin + self.page)} if len(ids) > begin + self.page else {}
            results.append({"vulns": ids[begin : begin + self.page], **more} if ids else {})
        if self.status != 200:
            return web.json_response({"code": 13, "message": "internal"}, status=self.status)
        return web.json_response({"results": results})

    def _affecting(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        name, ecosystem, version = wanted["package"]["name"], wanted["package"]["ecosystem"], wanted["version"]
        self.asked.append(f"{name}=={version}")
        return [
            record
            for record in self.records
            for affected in record["affected"]
            if affected["package"] == {"name": name, "ecosystem": ecosystem} and version in affected["versions"]
        ]

    async def _record(self, request: web.Request) -> web.Response:
        found = [record for record in self.records if record["id"] == request.match_info["id"]]
        if self.records_status != 200:
            return web.json_response({"code": 8, "message": "limit"}, status=self.records_status)
        if self.status != 200 or not found:
            return web.json_response({"code": 5, "message": "Bug not found."}, status=max(404, self.status))
        return web.json_response(found[0])
