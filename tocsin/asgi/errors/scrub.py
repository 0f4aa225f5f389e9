"""What must not reach a log: credentials, and what tells who somebody is.

An exception's text quotes what it was about: a DSN with its password, the e-mail address that was there already, a
card number. Masked are what tocsin.telemetry.logs masks, bearer and basic credentials, values of keys that are called
like a secret, cookies, query strings, API keys of known form, e-mail and IP addresses, card numbers, IBANs, phone
numbers in international form, and what Postgres quotes of a row (`Key (email)=(…)`, `Failing row contains (…)`).
"""

from __future__ import annotations

import re
from typing import Final

from tocsin.telemetry.logs import redacted

_PERSONAL: Final = re.compile(
    r"(?P<key>\b(?:Key \([^)]{1,200}\)=|Failing row contains ))\([^\n]{0,2000}\)"
    r"|(?P<scheme>\b(?:Bearer|Basic) )[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<cookie>\b(?:set-)?cookie\s{0,3}:\s{0,3})[^\n'\"]+"
    r"|(?P<query>/[^\s?#'\"@/]{0,200}\?)[^\s'\"=]{1,100}=[^\s'\"<>]*"
    r"|(?P<name>(?:pass(?:word|wd|phrase)?|pwd|secret|token|authorization|cookie|session(?:_?id)?|credential"
    r"|(?:api|secret|private|access|role|sentry|signing|encryption)[_ -]?key)s?"
    r"['\"]?\s{0,3}(?:[=:]|,(?=\s?b?['\"]))\s{0,3}(?:b(?=['\"]))?(?:(?:Bearer|Basic|Digest|Token|Sentry) )?)"
    r"(?:'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|[^\s,;&)}\]]+)"
    r"|\b(?:sk|pk|rk|sb|ghp|gho|glpat|AKIA)[-_]?(?:live|test|secret|publishable)?[-_]?[A-Za-z0-9]{16,}[A-Za-z0-9_-]*"
    r"|\bgithub_pat_[A-Za-z0-9_]{16,}"
    # IPv4 but loopback, and IPv6 that is global, private or of a link: others look like times and names.
    r"|(?<![\w.])(?!127\.|0\.0\.0\.0)(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\w)"
    r"|(?<![\w:])[23f][0-9a-f]{3}:(?:(?:[0-9a-f]{1,4}:){0,5}:(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,5})?"
    r"|(?:[0-9a-f]{1,4}:){6}[0-9a-f]{1,4})(?![\w:])"
    r"|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"
    r"|(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w.-])"
    r"|(?<!\w)\+\d[\d ()-]{7,18}\d",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(
    r"[\w.!#$%&*+/=?^{|}~-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"  # letters of any script
)
MASK: Final = "***"


def scrubbed(text: str) -> str:
    """`text` with secrets and personal data masked."""
    text = _PERSONAL.sub(_masked, redacted(text))
    return _EMAIL.sub(MASK, text) if "@" in text or "%40" in text else text  # dear, and most texts have none


def excerpt(text: str, most: int) -> str:
    """`text`, masked, without the middle of what is longer than `most` characters. Masked first: a secret that is cut
    through can't be known as one. Of what is very long the far middle goes before, or masking would take seconds."""
    left_out, half = 0, most // 2
    if len(text) > 2 * most:
        left_out = len(text) - 2 * most
        parts = [scrubbed(text[:most]), scrubbed(text[-most:])]
    else:
        parts = [scrubbed(text)]
    if not left_out and len(parts[0]) <= most:
        return parts[0]
    left_out += max(sum(map(len, parts)) - most, 0)
    return f"{parts[0][:half]}\n… {left_out} characters left out …\n{parts[-1][-half:]}"


def text_of(error: BaseException, most: int = 2000) -> str:
    """An exception's own text, masked, of `most` characters; its class where it can't be made."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (an exception whose text can't be made is one all the same)
        return type(error).__qualname__
    return excerpt(text, most)


def _masked(match: re.Match[str]) -> str:
    return (next((kept for kept in match.groups() if kept), "")) + MASK
