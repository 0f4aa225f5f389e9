"""Django answers exceptions itself, and tells of them by a signal."""

from __future__ import annotations

import sys
from typing import Any

from tocsin.asgi.call import CALL_KEY, Call

_listens = False


def listen_to_django() -> None:
    """Where Django is loaded; once."""
    global _listens
    signals = sys.modules.get("django.core.signals")
    if signals is not None and not _listens:
        _listens = True
        signals.got_request_exception.connect(_failed, dispatch_uid="tocsin.asgi.errors", weak=False)


def _failed(request: Any = None, **_: Any) -> None:
    call = getattr(request, "scope", {}).get(CALL_KEY)
    if isinstance(call, Call):
        call.error = sys.exc_info()[1]
