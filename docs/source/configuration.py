"""docs/configuration.md, written from the settings models: every key of config.yaml, its form, default and meaning.

    .venv/bin/python -m docs.source.configuration      write the page anew

A test compares the page with what this yields, so that a key without its line can't be committed.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from datetime import time
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tocsin.config import Config
from tocsin.config.annotations import models_of
from tocsin.durations import format_duration, parse_duration
from tocsin.ports import CollectorSettings, NotifierSettings
from tocsin.runtime import plugins

PAGE: Final = Path(__file__).parents[1] / "configuration.md"

SAYS: Final = {
    "kind": "which plug-in; the headings below",
    "name": "what messages, logs and routes call it",
    "url": "the address",
    "headers": "sent with each request",
    "method": "of the request",
    "follow_redirects": "false: the redirect itself is the answer",
    "max_redirects": "more of them fail the probe",
    "deadline": "an attempt's end at the latest",
    "stream": "where lines go",
    "timezone": "in which times are written",
    "security": "how the connection is encrypted",
    "username": "to sign in with; needs a password",
    "application_name": "under which our sessions stand in pg_stat_activity",
    "log_level": "finer lines are left out",
    "otlp_headers": "sent with the spans; a value is a secret",
}
"""What is said of a key whose model says nothing: names that mean the same everywhere."""

HEAD: Final = """\
# config.yaml, key by key

This page is written from the settings models (`python -m docs.source.configuration`); a test fails when it is not up to
date. `tocsin check --example` prints a commented file with every section; `tocsin check` finds every mistake at once,
as `FILE:LINE: what; how to mend it`, and names the nearest key for one that is unknown.

**Where it is.** `--config FILE`, or `TOCSIN_CONFIG`, or `config.yaml` in the current folder. Relative paths in it are
relative to it. Rules, dashboards and runbooks are folders beside it; without one, the copy that came with Tocsin.

**From the environment.** Every key may be set as `TOCSIN_SECTION__KEY`, which wins over the file; an entry of a list
is named by its name or number: `TOCSIN_WEB__LISTEN=0.0.0.0:9475`, `TOCSIN_NOTIFIERS__SLACK_PAGES__CHANNEL=C0456DEFABC`.

**Secrets.** A key whose form is *secret* is not written in clear: beside `token` there are `token_env` (the name of a
variable) and `token_file` (a path). In clear it is refused, unless `allow_inline_secrets`. The daemon does not start
while one is missing; `tocsin check` only warns, for CI has none. They are never shown in logs, errors or messages.

**Durations** are written as Prometheus does: `500ms`, `30s`, `5m`, `1h30m`, `2d`; a bare number is seconds.

**YAML** is 1.2: `on` and `no` are text, and a key that stands twice is an error.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    yield "## The file\n"
    yield _table(Config)
    yield from _below(Config, skip=(CollectorSettings, NotifierSettings))
    yield "## collectors: keys of every kind\n"
    yield _table(CollectorSettings)
    yield from _below(CollectorSettings, prefix="collectors: ")
    for kind, collector in plugins.collectors().load_all().items():
        yield f"### collectors: {kind}\n"
        yield f"{_first_line(plugins.collectors().describe(kind))}\n"
        yield _table(collector.settings, without=CollectorSettings)
        yield from _below(collector.settings, prefix=f"{kind}: ", without=CollectorSettings)
    yield "## notifiers: keys of every kind\n"
    yield _table(NotifierSettings)
    yield from _below(NotifierSettings, prefix="notifiers: ")
    for kind, notifier in plugins.notifiers().load_all().items():
        yield f"### notifiers: {kind}\n"
        yield f"{_first_line(plugins.notifiers().describe(kind))}\n"
        yield _table(notifier.settings, without=NotifierSettings)
        yield from _below(notifier.settings, prefix=f"{kind}: ", without=NotifierSettings)


def _below(
    model: type[BaseModel],
    *,
    prefix: str = "",
    skip: Iterable[type] = (),
    without: type[BaseModel] | None = None,
    known: dict[type, str] | None = None,
) -> Iterator[str]:
    """The models that the fields of `model` hold, each under the key that leads to it, and once: `known` are those
    that stand above."""
    told = without.model_fields if without is not None else {}
    known = {} if known is None else known
    for name, field in model.model_fields.items():
        for held in () if name in told else models_in(field.annotation):
            if held is model or issubclass(held, tuple(skip)):
                continue
            key = f"{prefix}{field.alias or name}"
            yield f"### {key}\n"
            if held in known:
                yield f"The keys of [{known[held]}](#{_anchor(known[held])}).\n"
                continue
            known[held] = key
            yield f"{_first_line(held.__doc__ or '')}\n"
            yield _table(held)
            yield from _below(held, prefix=f"{key}.", known=known)


def _table(model: type[BaseModel], *, without: type[BaseModel] | None = None) -> str:
    left_out = set(without.model_fields) if without is not None else set()
    rows = [
        f"| `{field.alias or name}` | {form_of(field)} | {default_of(field)} | {says(name, field)} |"
        for name, field in model.model_fields.items()
        if name not in left_out
    ]
    if not rows:
        return "No keys of its own.\n"
    return "\n".join(["| key | form | default | meaning |", "|---|---|---|---|", *rows, ""])


def says(name: str, field: FieldInfo) -> str:
    """What the key means, with its bounds. Raises KeyError for one that nobody explains."""
    held = models_in(field.annotation)
    text = field.description or (_first_line(held[0].__doc__ or "") if held else SAYS[name])
    bounds = [
        f"{word} {_bound(getattr(rule, sign), field)}"
        for rule in field.metadata
        for sign, word in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
        if getattr(rule, sign, None)  # that a length is not negative goes without saying
    ]
    whole = "; ".join([text.rstrip("."), *bounds])
    return whole.replace("|", "\\|").replace("\n", " ")


def form_of(field: FieldInfo) -> str:
    """How the value is written."""
    return " or ".join(dict.fromkeys(_forms(field.annotation, field.metadata)))


def _forms(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is types.NoneType:
        return
    if origin is Annotated:
        yield from _forms(arguments[0], arguments[1:])
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from _forms(member, metadata)
    elif origin is Literal:
        yield ", ".join(f"`{value}`" for value in arguments)
    elif origin in (tuple, list, frozenset, set):
        yield "list of " + _plural(" or ".join(dict.fromkeys(_forms(arguments[0]))))
    elif origin is dict:
        yield f"mapping to {_plural(' or '.join(dict.fromkeys(_forms(arguments[1]))))}"
    elif any(getattr(rule, "func", None) is parse_duration for rule in metadata):
        yield "duration"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "mapping"
    else:
        yield _WORDS.get(annotation, "text")


_WORDS: Final = {
    str: "text", int: "whole number", float: "number", bool: "`true`, `false`", Path: "path", SecretStr: "secret",
    time: "time of day", Any: "any value",
}  # fmt: skip


def _plural(form: str) -> str:
    several = {"text": "texts", "path": "paths", "number": "numbers", "whole number": "whole numbers"}
    return {
        **several,
        "mapping": "mappings",
        "secret": "secrets",
        "duration": "durations",
        "any value": "any values",
    }.get(form, form)


def default_of(field: FieldInfo) -> str:
    """The default as it would be written, or that there is none."""
    if field.is_required():
        return "**required**"
    return written(field.get_default(call_default_factory=True), field)


def written(value: Any, field: FieldInfo) -> str:
    """A default in YAML's own form."""
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if isinstance(value, SecretStr):
        return f"`{value.get_secret_value()}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{format_duration(value) if 'duration' in form_of(field) else f'{value:g}'}`"
    if isinstance(value, time):
        return f"`{value:%H:%M}`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, (tuple, list, frozenset, set)):
        return f"`[{', '.join(f'{item:g}' if isinstance(item, float) else str(item) for item in value)}]`"
    if isinstance(value, dict):
        return "`{}`"
    return f"`{value}`" if str(value) else '`""`'


def _bound(value: Any, field: FieldInfo) -> str:
    return format_duration(value) if "duration" in form_of(field) else f"{value:,}"


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field holds, by itself or in a list or mapping; a route's own routes are not told again."""
    found: list[type[BaseModel]] = list(models_of(annotation))
    for member in (annotation, *get_args(annotation)):
        for argument in get_args(member):
            if isinstance(argument, type) or get_origin(argument) is not None:
                found += [model for model in models_in(argument) if model not in found]
    return found


def _anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return "".join(sign for sign in heading.lower().replace(" ", "-") if sign.isalnum() or sign in "-_")


def _first_line(text: str) -> str:
    """The first paragraph's first sentence."""
    return " ".join(text.strip().split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
