"""Which error is it? The exception's type and the last frame that is the application's own.

Not the message, which holds ids and addresses, and not the line, which every deployment moves: the same error keeps its
fingerprint across both. A frame is the application's own unless its file is a library's (site-packages, the standard
library), a layer of ours or no file at all (code that was generated); an error with no such frame goes by its last. An
application that is itself installed in site-packages is named: `InApp(["campaigns"])`.
"""

from __future__ import annotations

import hashlib
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
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


class InApp:
    """Which frames are the application's own."""

    def __init__(self, packages: Iterable[str] = ()) -> None:
        """`packages` are so wherever they are installed, with all below them. Raises ValueError for what is no name."""
        given = tuple(packages)
        for name in given:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"{name!r} is no package: write it as it is imported, campaigns or shop.orders")
        self._packages = frozenset(given)
        self._below = tuple(f"{name}." for name in given)

    def __call__(self, frame: FrameType) -> bool:
        file = frame.f_code.co_filename
        if is_in_app(file):
            return True
        module = str(frame.f_globals.get("__name__", ""))
        named = module in self._packages or module.startswith(self._below)
        return named and not file.startswith((_OURS, "<"))


class Fingerprints:
    """Names errors: 12 hexadecimal digits."""

    def __init__(self, in_app: Callable[[FrameType], bool] | None = None) -> None:
        self._in_app = in_app or InApp()
        # By identity: the same few lines in two files are equal code. It is held, so that its id stays its own.
        self._code: dict[int, tuple[CodeType, bool]] = {}
        self._named: dict[tuple[type, int], tuple[CodeType | None, str, str]] = {}

    def of(self, error: BaseException) -> tuple[str, str]:
        """(fingerprint, where): `where` is `module:function` of the frame it goes by."""
        last = own = None
        step = error.__traceback__
        while step is not None:
            last = step.tb_frame
            if self._is_own(last):
                own = last
            step = step.tb_next
        frame = own or last
        code = frame.f_code if frame is not None else None
        key = (type(error), id(code))
        found = self._named.get(key)
        if found is None or found[0] is not code:
            where = f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}" if frame is not None else ""
            found = code, named(name_of(type(error)), where), where
            if len(self._named) < _MOST:
                self._named[key] = found
        return found[1], found[2]

    def has_own(self, error: BaseException) -> bool:
        """True when a frame of the application took part."""
        return any(self._is_own(frame) for frame, _ in traceback.walk_tb(error.__traceback__))

    def is_own(self, error: BaseException) -> bool:
        """True when the application itself raised it."""
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        return bool(frames) and self._is_own(frames[-1])

    def _is_own(self, frame: FrameType) -> bool:
        code = frame.f_code
        known = self._code.get(id(code))
        if known is not None and known[0] is code:
            return known[1]
        own = self._in_app(frame)
        if len(self._code) < _MOST:
            self._code[id(code)] = (code, own)
        return own


def named(*parts: str) -> str:
    """The fingerprint made of `parts`."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:12]
