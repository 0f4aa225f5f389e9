"""What is sent to the allowlist's API: models that read it, and from which /openapi.json is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tocsin.access.allowlist import Effect, Kind, Role
from tocsin.access.allowlist.csv_file import MOST_BYTES
from tocsin.access.allowlist.entry import MOST_NOTE
from tocsin.web.form import FORM_BYTES, bounded_body

MOST_ENTRIES: Final = 1000
"""In one request; more come as CSV."""
_REF: Final = "#/components/schemas/{model}"


def _utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("no time that can be kept") from None


Moment = Annotated[datetime, AfterValidator(_utc)]
"""Without an offset it is UTC."""
Value = Annotated[str, Field(max_length=320, description="ana@example.com, example.com or *.example.com")]
Note = Annotated[str, Field(max_length=MOST_NOTE)]


class Sent(BaseModel):
    """A body of JSON."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    most_bytes: ClassVar[int] = FORM_BYTES

    @classmethod
    async def of(cls, request: Request) -> Self:
        """Raises HTTPException that names the member and what is wrong with it."""
        body = await bounded_body(request, cls.most_bytes)
        try:
            return cls.model_validate_json(body if body.strip() else b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise HTTPException(400, f"{where}: {first['msg']}") from None

    @classmethod
    def schema_of(cls) -> Mapping[str, Any]:
        """For /openapi.json; what it refers to is in SCHEMAS."""
        found = cls.model_json_schema(ref_template=_REF)
        found.pop("$defs", None)
        return found


class Fields(Sent):
    """What an entry says besides whom it names."""

    effect: Effect = Effect.ALLOW
    role: Role | None = None
    note: Note = ""
    expires_at: Moment | None = None


class NewEntry(Fields):
    """An entry to add."""

    value: Value


class Addition(Sent):
    """Several, of which all are added or none."""

    entries: tuple[NewEntry, ...] = Field(min_length=1, max_length=MOST_ENTRIES)


class Alteration(Fields):
    """An entry and what becomes different; what is not named stays."""

    value: Value


class Named(Sent):
    """Entries by their values."""

    values: tuple[Value, ...] = Field(min_length=1, max_length=MOST_ENTRIES)


class Ending(Named):
    """Entries, and when they end; now, without."""

    at: Moment | None = None


class Nothing(Sent):
    """No member: what is done needs none."""


class Question(Sent):
    """An address as it would stand in a token."""

    address: str = Field(max_length=1000)


class Import(Sent):
    """A CSV file."""

    most_bytes: ClassVar[int] = MOST_BYTES + FORM_BYTES

    csv: str = Field(max_length=MOST_BYTES)
    prune: bool = Field(False, description="also remove what is not in the file")
    apply: bool = Field(False, description="do it; without, it is only said what would change")


class Differences(Sent):
    """Which differences between addresses are ignored; what is not named stays."""

    plus: bool | None = None
    gmail_dots: bool | None = None


_TIME: Final[Mapping[str, Any]] = {"type": ["string", "null"], "format": "date-time"}
_ENTRY: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["value", "kind", "effect", "role"],
    "properties": {
        "value": {"type": "string"},
        "kind": {"enum": [*Kind]},
        "effect": {"enum": [*Effect]},
        "role": {"enum": [*Role, None]},
        "note": {"type": "string"},
        "added_by": {"type": "string"},
        "added_at": _TIME,
        "expires_at": _TIME,
        "last_seen_at": _TIME,
        "holds": {"type": "boolean"},
    },
}
SCHEMAS: Final[Mapping[str, Any]] = {
    "AllowlistEntry": _ENTRY,
    **{
        name: schema
        for model in (Addition, Alteration)
        for name, schema in model.model_json_schema(ref_template=_REF)["$defs"].items()
    },
}
"""What /openapi.json says of entries."""
