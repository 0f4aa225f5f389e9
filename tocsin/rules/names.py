"""Which names Prometheus takes for metrics, labels and annotations: any UTF-8 text, or the classic identifiers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import yaml

from tocsin.model import METRIC_NAME

from .document import Document

_LEGACY_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LEGACY_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class NameRules:
    """Prometheus' metric_name_validation_scheme. `utf8` is the default since version 3."""

    legacy: bool

    def is_label(self, name: str) -> bool:
        """True for a name that a label may have."""
        return bool(_LEGACY_LABEL.fullmatch(name)) if self.legacy else _is_text(name)

    def is_metric(self, name: str) -> bool:
        """True for a name that a metric may have."""
        return bool(_LEGACY_METRIC.fullmatch(name)) if self.legacy else _is_text(name)

    def check_label(self, document: Document, at: yaml.Node, name: str, kind: str) -> None:
        """A finding where `name` can't name a label or annotation."""
        if self.is_label(name) and not (kind == "label" and name == METRIC_NAME):
            return
        mend = "letters, digits and _, not beginning with a digit" if self.legacy else "it must not be empty"
        if name == METRIC_NAME:
            mend = "the metric's name can't be set by a label"
        document.find(at, f"invalid {kind} name {name!r}", mend)


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def name_rules(scheme: Literal["utf8", "legacy"]) -> NameRules:
    """The rules of a scheme."""
    return NameRules(scheme == "legacy")
