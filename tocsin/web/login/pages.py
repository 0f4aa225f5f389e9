"""The pages of the login, from tocsin/web/console/templates/login*.j2. No script is needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from starlette.responses import HTMLResponse

_FOLDER: Final = Path(__file__).parents[1] / "console" / "templates"


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(_FOLDER)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)


def page(name: str, status: int = 200, **context: Any) -> HTMLResponse:
    """One page of the login; `error` is what went wrong, for people."""
    text = _templates().get_template(f"{name}.html.j2").render({"error": "", **context})
    return HTMLResponse(text, status)
