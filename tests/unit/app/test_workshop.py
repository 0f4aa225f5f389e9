"""What a reload makes anew, and what stays as it is."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from tocsin.app.workshop import Workshop
from tocsin.config import load_config
from tocsin.testing.clock import VirtualClock

CONFIG = """
notifiers:
  - {kind: slack, name: slack, channel: C0ALERTS, token_env: TOKEN}
routes:
  - {notify: [slack]}
"""


def test_a_notifier_is_made_anew_when_it_or_the_address_it_links_to_has_changed(tmp_path: Path) -> None:
    """Else messages would lead to where the console was before the reload."""
    clock: Any = VirtualClock()
    nothing: Any = None
    workshop = Workshop(
        state=nothing, store=nothing, clock=clock, telemetry=nothing, tracing=nothing, pipeline=nothing,
        endpoints=nothing, poke=nothing, permit=nothing,
    )  # fmt: skip
    path, made = tmp_path / "config.yaml", []
    for more in ("", "", "external_url: https://a.example\n", "external_url: https://a.example\n", ""):
        path.write_text(CONFIG + more)
        workshop.destinations(load_config(path, {"TOKEN": "xoxb-1"}), None)
        made.append(workshop.notifiers["slack"][1])
    same = [one is other for one, other in pairwise(made)]
    assert same == [True, False, True, False]
