"""What an answer must be: the keys of `expect` in config.yaml."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import re2
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from collectors.endpoint.json_path import parsed
from tocsin.ports import Duration


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """RE2, because the text is the peer's: no pattern takes more than linear time on it. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _re2(pattern: str) -> str:
    try:
        compiled(pattern)
    except re2.error as error:
        what = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{pattern!r} is no RE2 regular expression: {what}") from None
    return pattern


def _path(text: str) -> str:
    parsed(text)
    return text


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_re2)]
"""An RE2 regular expression."""
JsonPath = Annotated[str, Field(min_length=1), AfterValidator(_path)]
"""`items[0].id`: see json_path."""
Status = Annotated[int, Field(ge=100, le=599)]


Kind = Literal["http", "wire", "dns"]
"""Of a target: HTTP, a connection alone, or a question to a name server."""


class Expect(BaseModel):
    """What an answer must be. Each expectation that fails is a `reason`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Annotated[tuple[Status, ...], BeforeValidator(_as_tuple)] = Field(
        default=(), description="a status, or a list of them; default: any 2xx"
    )
    body_contains: str | None = Field(default=None, min_length=1, description="text that the body holds")
    body_matches: Pattern | None = Field(default=None, description="RE2 regular expression found in the body")
    json_equals: dict[JsonPath, Any] = Field(
        default_factory=dict, description="place in the JSON body, like `items[0].id` → the value that stands there"
    )
    json_exists: tuple[JsonPath, ...] = Field(
        default=(), description="places of the JSON body where something stands, null included"
    )
    header_matches: dict[str, Pattern] = Field(
        default_factory=dict, description="header of the answer → RE2 regular expression found in it"
    )
    url_matches: Pattern | None = Field(
        default=None,
        description="RE2 regular expression found in the URL that answered after redirects; with "
        "`follow_redirects: false`, in the URL that the redirect names",
    )
    rcode: Literal["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"] = Field(
        default="NOERROR", description="dns://: what the name server answers"
    )
    records_contain: tuple[str, ...] = Field(
        default=(), description="dns://: records that are among those of the type, like 192.0.2.1 or `10 mail.example`"
    )
    records_equal: tuple[str, ...] = Field(default=(), description="dns://: all records of the type, in any order")
    records_least: int | None = Field(
        default=None, ge=0, description="dns://: how many records at least; default: one, where the rcode is NOERROR"
    )
    max_seconds: Duration | None = Field(default=None, gt=0, description="slower than this is a failure")

    @model_validator(mode="after")
    def _headers_are_names(self) -> Self:
        for header in self.header_matches:
            if not header.replace("-", "").replace("_", "").isalnum() or not header.isascii():
                raise ValueError(f"header_matches: {header!r} is no header's name")
        return self

    @property
    def reads_body(self) -> bool:
        return bool(self.body_contains or self.body_matches or self.reads_json)

    @property
    def reads_json(self) -> bool:
        return bool(self.json_equals or self.json_exists)

    def foreign_to(self, kind: Kind) -> list[str]:
        """The keys given that an answer of this kind can't meet, as they are written."""
        return [f"expect.{key}" for key in type(self).model_fields if key in self.model_fields_set - _MEETS[kind]]


_OF_NAMES = frozenset({"rcode", "records_contain", "records_equal", "records_least"})
_MEETS: dict[Kind, frozenset[str]] = {
    "http": frozenset(Expect.model_fields) - _OF_NAMES,
    "wire": frozenset({"body_contains", "body_matches", "max_seconds"}),
    "dns": _OF_NAMES | {"max_seconds"},
}
