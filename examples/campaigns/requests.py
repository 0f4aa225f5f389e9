"""What may be asked: bodies and query strings, checked before they reach the database."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import Request

from examples.campaigns.problems import Invalid, NotFound, NotJson, TooLarge

BODY_LIMIT: Final = 2 * 1024 * 1024
"""Bytes: 10,000 addresses and a long text fit."""
LARGEST_ID: Final = 2**63 - 1

# One `@`, a dotted domain, nothing that needs quoting: what a mailing list holds. RFC 5321 caps the whole at 254.
_ADDRESS: Final = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
)


class Status(StrEnum):
    """draft → running ⇄ paused → finished"""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"


def _address(text: str) -> str:
    address = text.strip().lower()
    if len(address) > 254 or not _ADDRESS.fullmatch(address):
        raise ValueError("not an e-mail address; write it like ana@example.com")
    return address


def _storable(text: str) -> str:
    """Postgres stores no NUL in text."""
    if "\x00" in text:
        raise ValueError("holds a NUL character; remove it")
    return text


def _distinct(addresses: list[str]) -> list[str]:
    return list(dict.fromkeys(addresses))


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_storable)]
Recipients = Annotated[
    list[Annotated[str, AfterValidator(_address)]], Field(max_length=10_000), AfterValidator(_distinct)
]
"""Lower case, each once, in the order given."""


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewCampaign(_Asked):
    name: Line
    subject: Line
    body: Annotated[str, StringConstraints(min_length=1, max_length=100_000), AfterValidator(_storable)]
    recipients: Recipients = Field(default_factory=list)


class MoreRecipients(_Asked):
    recipients: Annotated[Recipients, Field(min_length=1)]


class Page(_Asked):
    status: Status | None = None
    limit: int = Field(default=20, ge=1, le=100)
    before: int | None = Field(default=None, ge=1, le=LARGEST_ID)


Asked = TypeVar("Asked", bound=_Asked)


async def body_of(request: Request, model: type[Asked]) -> Asked:
    """The JSON body as `model`. Raises NotJson, TooLarge or Invalid."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise NotJson(f"Send the body as application/json, not {content_type or 'without a content type'}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise TooLarge(f"The body is over {BODY_LIMIT} bytes; add recipients in several requests.")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as found:
        raise Invalid.of(found) from None


def page_of(request: Request) -> Page:
    """The query string as a Page. Raises Invalid."""
    try:
        return Page.model_validate(dict(request.query_params))
    except ValidationError as found:
        raise Invalid.of(found, where="query string") from None


def id_of(request: Request) -> int:
    """The campaign id of the path. Raises NotFound for one that no table can hold."""
    number = int(request.path_params["id"])
    if not 0 < number <= LARGEST_ID:
        raise NotFound(f"There is no campaign {number}.")
    return number
