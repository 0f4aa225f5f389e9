"""What `tocsin doctor` says: each target is probed once, and what is not as expected is named, with its step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from collectors.endpoint.collector import EndpointCollector
from collectors.endpoint.settings import EndpointSettings
from tocsin.model import Blind, Sample
from tocsin.ports import CollectorContext, Health


class _NoMemory:
    async def load(self) -> bytes | None:
        return None

    async def save(self, blob: bytes) -> None:
        """Uptime is the daemon's to count."""


async def examine(settings: EndpointSettings, folder: Path) -> Sequence[Health]:
    """A line for each target that is down or can't be probed, and one for all that are up."""
    context = CollectorContext(checkpoint=_NoMemory(), poke=lambda: None, folder=folder)
    collector = EndpointCollector(settings, context)
    try:
        items = [item async for item in collector.collect(datetime.now(UTC))]
    finally:
        await collector.close()
    gaps = [Health(ok=False, what=item.why) for item in items if isinstance(item, Blind)]
    gaps += _gaps([item for item in items if isinstance(item, Sample)])
    up = sum(isinstance(item, Sample) and item.name == "tocsin_endpoint_up" and item.value == 1 for item in items)
    return [*gaps, *([Health(ok=True, what=f"{up} of {len(settings.targets)} targets are up")] if up else [])]


def _gaps(samples: Sequence[Sample]) -> Iterator[Health]:
    def reasons(name: str, instance: str) -> list[str]:
        found = [one.labels for one in samples if one.name == name and one.labels["instance"] == instance]
        return sorted(labels["reason"] + (f" in step {labels['step']}" if "step" in labels else "") for labels in found)

    for sample in samples:
        if sample.name != "tocsin_endpoint_up":
            continue
        instance = sample.labels["instance"]
        if sample.value == 0:
            why = reasons("tocsin_endpoint_step_failure", instance) or reasons("tocsin_endpoint_failure", instance)
            yield Health(ok=False, what=f"{instance} is down: {', '.join(why)}", mend="see runbooks/EndpointDown.md")
        if left := reasons("tocsin_endpoint_cleanup_failure", instance):
            mend = "see runbooks/EndpointCleanupFails.md"
            yield Health(ok=False, what=f"{instance} did not clean up: {', '.join(left)}", mend=mend)
