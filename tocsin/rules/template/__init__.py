"""The templates of labels and annotations: Go's text/template with Prometheus' functions.

    {{ $labels.instance }} is at {{ $value | humanizePercentage }}
    {{ with query "up == 0" }}{{ len . }} more are down: {{ range . }}{{ .Labels.instance }} {{ end }}{{ end }}

`$labels`, `$value`, `$externalLabels`, `$externalURL` are there, `.Labels`, `.Value` … as well. A label that the
alert does not have is the empty string. `compile_template` finds what is wrong without data (syntax, unknown
functions and variables); what only shows with data (`humanize "x"`, `first` of nothing) is told in the text itself,
as Prometheus does, because an alert with a broken sentence is better than no alert.

Compared with promtool in tests/conformance. Where it differs on purpose: templates that recurse or loop without end
fail with a message, and HTML is not escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from .execute import Execution
from .functions import NAMES, functions_of
from .nodes import Node
from .parse import Parser, TemplateSyntax
from .values import AlertData, ExecutionFailed, Query

__all__ = ["AlertData", "ExecutionFailed", "Query", "Template", "TemplateSyntax", "compile_template"]

_PREAMBLE: Final = (
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"
)
"""What Prometheus writes before every template. Kept for its length: positions in messages agree."""
_VARIABLES: Final = ("$labels", "$externalLabels", "$externalURL", "$value")


class Template:
    """A template that parsed. Thread-safe; renders any number of alerts."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        parser = Parser(name, text, NAMES, _VARIABLES)
        self._body: Sequence[Node] = parser.parse()
        self._defined = parser.defined

    @property
    def is_plain(self) -> bool:
        """True when it holds no action: it renders as it is written."""
        return "{{" not in self.text

    def execute(self, data: AlertData) -> str:
        """The text. Raises ExecutionFailed with Go's message."""
        if self.is_plain:
            return self.text
        fields = data.fields()
        variables = dict(
            zip(_VARIABLES, (fields[n] for n in ("Labels", "ExternalLabels", "ExternalURL", "Value")), strict=True)
        )
        execution = Execution(functions_of(data), self._defined)
        try:
            return execution.run(self._body, data, variables)
        except ExecutionFailed as failed:
            raise ExecutionFailed(
                f"error executing template {self.name}: {self._where(execution.here)}{failed}"
            ) from failed

    def render(self, data: AlertData) -> str:
        """The text, or Prometheus' `<error expanding template: …>` in its place. Never raises for a bad template."""
        try:
            return self.execute(data)
        except ExecutionFailed as failed:
            return f"<error expanding template: {failed}>"

    def _where(self, node: Node | None) -> str:
        at = node.at if node else 0
        before = self.text[:at]
        line = 1 + before.count("\n")
        column = len(before.rpartition("\n")[2].encode("utf-8", "surrogatepass")) + (len(_PREAMBLE) if line == 1 else 0)
        return f'template: {self.name}:{line}:{column}: executing "{self.name}" at <{node}>: '


@lru_cache(maxsize=4096)
def compile_template(text: str, alert: str) -> Template:
    """The template of one label or annotation of `alert`. Raises TemplateSyntax with the line within `text`."""
    return Template(f"__alert_{alert}", text)
