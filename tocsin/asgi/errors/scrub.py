"""What must not reach a log: credentials, and what tells who somebody is.

An exception's text quotes what it was about: a DSN with its password, the e-mail address that was there already, a
card number. Masked are what tocsin.telemetry.logs masks, bearer and basic credentials, values of keys that are called
like a secret, API keys of known form, e-mail addresses, card numbers, IBANs, phone numbers in international form, and
what Postgres quotes of a row (`Key (email)=(…)`, `Failing row contains (…)`).
"""

from __future__ import annotations

import re
from typing import Final

from tocsin.telemetry.logs import redacted

_PERSONAL: Final = re.compile(
    r"(?P<key>\b(?:Key \([^)]{1,200}\)=|Failing row contains ))\([^\n]{0,2000}\)"
    r"|(?P<scheme>\b(?:Bearer|Basic) )[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<name>(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|authorization|cookie|session(?:_?id)?|credential)s?"
    r"['\"]?\s{0,3}[=:]\s{0,3}(?:Bearer |Basic )?)(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s,;&)}\]]+)"
    r"|\b(?:sk|pk|rk|sb|ghp|gho|glpat|AKIA)[-_]?(?:live|test|secret|publishable)?[-_]?[A-Za-z0-9]{16,}"
    r"|[A-Za-z0-9.!#$%&*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
    r"|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"
    r"|(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w.-])"
    r"|(?<!\w)\+\d[\d ()-]{7,18}\d",
    re.IGNORECASE,
)
MASK: Final = "***"


def scrubbed(text: str) -> str:
    """`text` with secrets and personal data masked."""
    return _PERSONAL.sub(_masked, redacted(text))


def text_of(error: BaseException, most: int = 2000) -> str:
    """An exception's own text, masked, of `most` characters; its class where it can't be made."""
    try:
        text = str(error)[:most]
    except Exception:  # noqa: BLE001 (an exception whose text can't be made is one all the same)
        return type(error).__qualname__
    return scrubbed(text)


def _masked(match: re.Match[str]) -> str:
    return (match["key"] or match["scheme"] or match["name"] or "") + MASK
