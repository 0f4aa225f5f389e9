"""Which error is it? The exception's type and the last frame that is the application's own.

Not the message, which holds ids and addresses, and not the line, which every deployment moves: the same error keeps its
fingerprint across both. A frame is the application's own unless its file is a library's (site-packages, the standard
library), a layer of ours or no file at all (code that was generated); an error with no such frame goes by its last.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Final

from tocsin.asgi.errors.category import name_of

_LIBRARIES: Final = tuple(
    {
        str(Path(path)) + "/"
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        if (path := sysconfig.get_path(name))
    }
)
_OURS: Final = str(Path(__file__).resolve().parents[1]) + "/"
_MOST: Final = 4096


def is_in_app(file: str) -> bool:
    """True for a file of the application."""
    return not (file.startswith((*_LIBRARIES, _OURS, "<")) or "/site-packages/" in file or "/dist-packages/" in file)


class Fingerprints:
    """Names errors: 12 hexadecimal digits."""

    def __init__(self, in_app: Callable[[str], bool] = is_in_app) -> None:
        self._in_app = in_app
        self._code: dict[CodeType, bool] = {}
        self._named: dict[tuple[type, CodeType | None], tuple[str, str]] = {}

    def of(self, error: BaseException) -> tuple[str, str]:
        """(fingerprint, where): `where` is `module:function` of the frame it goes by."""
        last = own = None
        step, known = error.__traceback__, self._code
        while step is not None:
            last = step.tb_frame
            is_own = known.get(last.f_code)
            if is_own or (is_own is None and self._is_own(last.f_code)):
                own = last
            step = step.tb_next
        frame = own or last
        code = frame.f_code if frame is not None else None
        key = (type(error), code)
        found = self._named.get(key)
        if found is None:
            where = f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}" if frame is not None else ""
            found = named(name_of(type(error)), where), where
            if len(self._named) < _MOST:
                self._named[key] = found
        return found

    def _is_own(self, code: CodeType) -> bool:
        own = self._in_app(code.co_filename)
        if len(self._code) < _MOST:
            self._code[code] = own
        return own


def named(*parts: str) -> str:
    """The fingerprint made of `parts`."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:12]
