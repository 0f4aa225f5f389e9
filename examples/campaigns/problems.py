"""What a caller is told when a request can't be met: RFC 9457 problem documents, and the next action by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import ClassVar

from pydantic import ValidationError
from starlette.responses import JSONResponse


class Problem(Exception):
    """The request can't be met."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    kind: ClassVar[str] = "about:blank"

    def __init__(self, detail: str, *, errors: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        """For a body: one entry per mistake, `pointer` (RFC 6901) and `detail`."""

    def response(self) -> JSONResponse:
        body: dict[str, object] = {
            "type": self.kind,
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = list(self.errors)
        return JSONResponse(body, status_code=int(self.status), media_type="application/problem+json")


class Invalid(Problem):
    """The request must be changed before it is sent again."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    @classmethod
    def of(cls, found: ValidationError, *, where: str = "body") -> Invalid:
        """Every mistake pydantic found, each with its place."""
        errors = [
            {
                "pointer": "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in error["loc"]),
                "detail": error["msg"].removeprefix("Value error, "),
            }
            for error in found.errors(include_url=False, include_context=False, include_input=False)
        ]
        count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
        return cls(f"The {where} has {count}; see errors.", errors=errors)


class TooLarge(Problem):
    """The body is larger than this service reads: split it."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NotJson(Problem):
    """The body is not declared to be JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class NotFound(Problem):
    """There is no such thing."""

    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    """The campaign's state does not allow it: read it again, then decide."""

    status = HTTPStatus.CONFLICT
