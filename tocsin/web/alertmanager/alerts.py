"""status, receivers, alerts and alerts/groups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tocsin.incidents.book import told_of
from tocsin.incidents.dependencies import Parents
from tocsin.incidents.matching import all_match
from tocsin.model import Alert, AlertState, Labels
from tocsin.runtime.external import Posted
from tocsin.web.alertmanager.wording import (
    BadRequest,
    alert_json,
    answer,
    filters_of,
    flag_of,
    receiver_of,
    text_map,
    time_of,
    time_text,
)
from tocsin.web.form import Form, form_of, json_of
from tocsin.web.inside import Inside

DIALECT: Final = "0.25.0"
"""The version of Alertmanager whose API this is."""
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Alerts:
    """The endpoints over the alerts."""

    inside: Inside

    async def status(self, request: Request) -> Response:
        """Which API this is, and where alerts go."""
        plan = self.inside.pipeline.book.plan
        names = sorted({*plan.destinations, *plan.router.notifiers()})
        root = plan.router.fallback.receivers[:1] or tuple(names[:1]) or ("nobody",)
        config = {"route": {"receiver": root[0]}, "receivers": [{"name": name} for name in sorted({*names, *root})]}
        return answer(request, {
            "cluster": {"name": "", "peers": [], "status": "disabled"},
            # JSON is YAML: amtool reads it as a configuration.
            "config": {"original": orjson.dumps(config, option=orjson.OPT_INDENT_2).decode()},
            "uptime": time_text(self.inside.started),
            "versionInfo": {
                "branch": "tocsin", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "",
                "version": DIALECT,
            },
        })  # fmt: skip

    async def receivers(self, request: Request) -> Response:
        """The notifiers."""
        return answer(request, [{"name": name} for name in sorted(self.inside.pipeline.book.plan.destinations)])

    async def list(self, request: Request) -> Response:
        """The alerts that fire."""
        form = await form_of(request)
        found = [document for _, document in self._wanted(form)]
        return answer(request, found)

    def _wanted(self, form: Form) -> Iterator[tuple[Alert, dict[str, Any]]]:
        """The alerts that are asked for, as documents, in the order of their fingerprints."""
        filters = filters_of(form)
        active, silenced, inhibited = (flag_of(form, name) for name in ("active", "silenced", "inhibited"))
        flag_of(form, "unprocessed")  # there is none: an alert is processed in the transaction that takes it
        receiver = receiver_of(form)
        pipeline, now = self.inside.pipeline, self.inside.clock.now()
        every = {**pipeline.rules.all_alerts(), **pipeline.external.alerts}
        book, silences = pipeline.book, tuple(pipeline.book.silences.values())
        parents = Parents(book.plan.dependencies, told_of(book.files.values()), now, None)
        for id, alert in sorted(every.items()):
            if alert.state is not AlertState.FIRING or not all_match(filters, alert.labels):
                continue
            names = list(dict.fromkeys(name for route in pipeline.book.plan.router.routes_of(alert.labels)
                                       for name in route.receivers))  # fmt: skip
            if receiver is not None and not any(receiver.fullmatch(name) for name in names):
                continue
            document = alert_json(
                alert, silences, parents.explaining(alert), names, pipeline.external.updated_at(id), now
            )
            status = document["status"]
            hidden = (status["silencedBy"] and not silenced) or (status["inhibitedBy"] and not inhibited)
            if not hidden and (active or status["state"] != "active"):
                yield alert, document

    async def groups(self, request: Request) -> Response:
        """The alerts that fire, as routes group them, by receiver."""
        form = await form_of(request)
        router = self.inside.pipeline.book.plan.router
        only = receiver_of(form)
        groups: dict[tuple[str, Labels], dict[str, Any]] = {}
        for alert, document in self._wanted(form):
            for route in router.routes_of(alert.labels):
                labels = route.group_of(alert.labels)
                for name in route.receivers:
                    if only is None or only.fullmatch(name):
                        fresh = {"alerts": [], "labels": dict(labels), "receiver": {"name": name}}
                        group = groups.setdefault((name, labels), fresh)
                        if document not in group["alerts"]:
                            group["alerts"].append(document)
        ordered = sorted(groups.items(), key=lambda item: (tuple(item[0][1].items()), item[0][0]))
        return answer(request, [group for _, group in ordered])

    async def post(self, request: Request) -> Response:
        """Alerts that began, go on or ended. The sound ones are taken; what is wrong with others is said."""
        sent = await json_of(request)
        if not isinstance(sent, list):
            raise BadRequest("the body must be a JSON array of alerts")
        posted: list[Posted] = []
        wrong: list[str] = []
        for index, each in enumerate(sent):
            try:
                posted.append(_posted(each))
            except BadRequest as error:
                wrong.append(f"alert {index + 1}: {error}")
        if posted:
            await self.inside.errands.receive(posted)
        if wrong:
            more = f"; and {len(wrong) - 10} more" if len(wrong) > 10 else ""
            raise BadRequest("; ".join(wrong[:10]) + more)
        return Response(status_code=200)


def _posted(value: Any) -> Posted:
    """Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest("must be an object")
    labels = Labels(text_map(value.get("labels"), "labels"))
    annotations = Labels(text_map(value.get("annotations"), "annotations"))
    if not labels:
        raise BadRequest("at least one label pair required")
    for kind, names in (("label", labels), ("annotation", annotations)):
        _check_names(kind, names)
    source = value.get("generatorURL") or ""
    if not isinstance(source, str):
        raise BadRequest("generatorURL must be a text")
    starts, ends = time_of(value.get("startsAt"), "startsAt"), time_of(value.get("endsAt"), "endsAt")
    if starts is not None and ends is not None and starts > ends:
        raise BadRequest("start time must be before end time")
    return Posted(labels=labels, annotations=annotations, starts_at=starts, ends_at=ends, source_url=source)


def _check_names(kind: str, pairs: Mapping[str, str]) -> None:
    for name in pairs:
        if not _NAME.fullmatch(name):
            raise BadRequest(f"invalid {kind} name {name!r}")
