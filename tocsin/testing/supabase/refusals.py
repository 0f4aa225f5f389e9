"""How Supabase Auth says no: a status, a code that clients match on, a message, and what only its log learns."""

from __future__ import annotations

from typing import Any

NEW_API_VERSION = "2024-01-01"


class AuthRefusal(Exception):
    """The request is answered with an error. The defaults of the subclasses are the server's own words."""

    def __init__(self, status: int, code: str, message: str, *, internal: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.internal = internal
        """What the log says instead of the message, e.g. which token was used twice."""

    @property
    def logged(self) -> str:
        """The `error` of the log line."""
        return self.internal or f"{self.status}: {self.message}"

    def body(self, api_version: str) -> dict[str, Any]:
        """What the caller reads, in the form of the API version it asked for."""
        if api_version >= NEW_API_VERSION:
            return {"code": self.code, "message": self.message}
        return {"code": self.status, "error_code": self.code, "msg": self.message}


class OAuthRefusal(AuthRefusal):
    """The OAuth form of an error: no code header, other keys."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(400, "", description, internal=f"{error}: {description}")
        self.error = error

    def body(self, api_version: str) -> dict[str, Any]:
        return {"error": self.error, "error_description": self.message}


def invalid_credentials() -> AuthRefusal:
    """Unknown address or wrong password: the same answer, so that nobody learns which."""
    return AuthRefusal(400, "invalid_credentials", "Invalid login credentials")


def weak_password(least: int) -> AuthRefusal:
    # The log line of this one has no status in front.
    message = f"Password should be at least {least} characters."
    return AuthRefusal(422, "weak_password", message, internal=message)
