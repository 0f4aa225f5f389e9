"""What can't be known about a rule's alerts at one evaluation, and for how long after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin.model import Alert, Labels, since

from .blindness import View, own_labels, reach
from .removed import AllRemoved


@dataclass
class Sight:
    """One rule's doubts at `now`. As it is asked, `hidden` learns which alerts could not be seen."""

    view: View
    failure: str
    """Why the evaluation failed; empty where it did not."""
    before: Mapping[str, datetime]
    """When each alert was last hidden, by id."""
    removed: AllRemoved
    now: datetime
    hidden: dict[str, datetime] = field(default_factory=dict)

    def absence(self, alert: Alert) -> str:
        """Why the alert's absence from the result proves nothing; empty: it is a fact."""
        if self.failure:
            return self._hides(alert, f"its rule failed: {self.failure}")
        if (spot := self.view.unseen(alert)) is not None:
            return self._hides(alert, f"{spot.source}: {spot.why}")
        hidden_at = self.before.get(alert.id)
        if alert.frozen_since is None or hidden_at is None:
            return ""
        # As long as it was hidden, and no longer than its windows reach back: by then they hold fresh samples.
        window = timedelta(seconds=reach(self.view.rule.plan))
        if since(hidden_at, self.now) >= min(window, since(alert.frozen_since, hidden_at)):
            return ""
        self.hidden[alert.id] = hidden_at
        return "its inputs are back, its windows not yet full"

    def presence(self, alert: Alert) -> str:
        """Why the alert's presence in the result proves nothing; empty: it is a fact."""
        spot = self.view.echo(alert)
        return self._hides(alert, f"{spot.source}: {spot.why}") if spot is not None else ""

    def removal(self, labels: Labels) -> str:
        """Why an alert with these labels has ended whatever is seen: what it is about is not configured any more."""
        if not self.removed:
            return ""
        found = self.removed.of(labels.without("alertname", *own_labels(self.view.rule)))
        return found.why if found is not None else ""

    def _hides(self, alert: Alert, why: str) -> str:
        self.hidden[alert.id] = self.now
        return why
