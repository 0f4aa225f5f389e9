"""A journey's steps: their keys in config.yaml, and what must fit together between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from collectors.endpoint.expect import Expect, JsonPath, Pattern
from collectors.endpoint.variables import NAME, names_in

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Variable = Annotated[str, Field(pattern=f"^{NAME}$")]
"""A variable's name, as `${name}` has it."""


def check_headers(headers: Mapping[str, str]) -> None:
    """That they can be sent. Raises ValueError."""
    for name, value in headers.items():
        if _HEADER.fullmatch(name) is None:
            raise ValueError(f"headers: {name!r} is no header's name")
        if not value.isprintable():
            raise ValueError(f"headers: the value of {name} holds a line break or another sign that a header can't")


_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110, 5.6.2."""


class Extract(BaseModel):
    """Where a variable's value stands in a step's answer: json, header or cookie, or `matches` on the body."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    json_: JsonPath | None = Field(default=None, alias="json", description="place in the JSON body, like `items[0].id`")
    header: str | None = Field(default=None, min_length=1, description="header of the answer")
    cookie: str | None = Field(default=None, min_length=1, description="cookie that the answer sets, or an earlier one")
    matches: Pattern | None = Field(
        default=None,
        description="RE2 regular expression found in what the other key names, or else in the body; the value is its "
        "first group, or all that it found",
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        named = [key for key in (self.json_, self.header, self.cookie) if key is not None]
        if len(named) > 1 or not (named or self.matches):
            raise ValueError("name one of json, header, cookie, with or without `matches`, or `matches` alone")
        return self


class Step(BaseModel):
    """One request of a journey; `${name}` in url, headers, body, json and form is a variable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$", description="the `step` label")
    url: str = Field(default="", description="relative to the target's, or whole; default: the target's")
    method: Method = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None = Field(default=None, description="sent as it is; set a content-type header with it")
    json_: Any = Field(default=None, alias="json", description="sent as JSON")
    form: dict[str, str] | None = Field(default=None, description="sent as a form is")
    expect: Expect = Expect()
    extract: dict[Variable, Extract] = Field(
        default_factory=dict, description="variable → where its value stands in the answer, for the steps after it"
    )
    follow_redirects: bool = True

    @model_validator(mode="after")
    def _checked(self) -> Self:
        bodies = {"body": self.body, "json": self.json_, "form": self.form}
        given = [key for key, value in bodies.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set; keep one")
        if foreign := self.expect.foreign_to("http"):
            raise ValueError(f"{', '.join(foreign)}: only a name server's answer has that")
        check_headers(self.headers)
        origin = self.url.partition("://")[2].partition("/")[0] if "://" in self.url else ""
        if "${" in origin:
            raise ValueError(f"url {self.url!r}: a variable may stand in path and query, not in the host")
        for name in ("url", "headers", "body", "json_", "form"):
            list(names_in(getattr(self, name)))
        return self

    def asks_for(self) -> Iterator[tuple[str, str]]:
        """(key, variable) of every variable in it."""
        for name in ("url", "headers", "body", "json_", "form"):
            for variable in names_in(getattr(self, name)):
                yield name.removesuffix("_"), variable


def check_journey(steps: Iterable[Step], cleanup: Iterable[Step], secrets: Mapping[str, str]) -> None:
    """That names are unique and every variable is known before it is used. Raises ValidationError at the key."""
    known, seen = set(secrets), set[str]()
    for section, group in (("steps", steps), ("cleanup", cleanup)):
        for index, step in enumerate(group):
            if step.name in seen:
                raise _at(f"two steps are called {step.name!r}; give one of them another name", section, index, "name")
            seen.add(step.name)
            for key, variable in step.asks_for():
                if variable not in known:
                    raise _at(
                        f"step {step.name!r} asks for ${{{variable}}}, which no step before it extracts and no "
                        f"secret is called; known here: {', '.join(sorted(known)) or 'none'}",
                        section, index, key,
                    )  # fmt: skip
            known |= set(step.extract)


def _at(what: str, *place: str | int) -> ValidationError:
    """A ValueError that pydantic reports at `place` below the model that is validated."""
    details = InitErrorDetails(type="value_error", loc=place, input=None, ctx={"error": ValueError(what)})
    return ValidationError.from_exception_data("journey", [details])
