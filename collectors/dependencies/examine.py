"""What `tocsin doctor` says: can each source be read, and the advisories be asked?"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from collectors.dependencies.scan import arguments_for
from collectors.dependencies.settings import DependenciesSettings, Source
from tocsin.errors import CollectError
from tocsin.ports import Health


async def examine(settings: DependenciesSettings, folder: Path) -> Sequence[Health]:
    """A line for each source, and one for the advisory database."""
    return [*(_source(source, folder) for source in settings.sources), await _advisories(settings.osv_url)]


def _source(source: Source, folder: Path) -> Health:
    if source.npm is not None:
        if source.ask == "npm" and shutil.which("npm") is None:
            return Health(ok=False, what=f"{source.name}: npm is not installed", mend="install Node.js, or `ask: osv`")
        there = (folder / source.npm).is_file()
        mend = "" if there else "name the package-lock.json, relative to config.yaml"
        return Health(ok=there, what=f"{source.name}: {source.npm} {'can' if there else 'can not'} be read", mend=mend)
    if importlib.util.find_spec("pip_audit") is None:
        what = f"{source.name}: pip-audit is not installed"
        return Health(ok=False, what=what, mend="pip install 'tocsin[scan]'")
    try:
        arguments_for(source, folder)
    except CollectError as error:
        return Health(ok=False, what=f"{source.name}: {error}")
    return Health(ok=True, what=f"{source.name}: {source.lock or source.environment} can be scanned")


async def _advisories(url: str) -> Health:
    """Any answer will do: OSV says 404 or a page where nothing is asked."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
            http.get(f"{url.rstrip('/')}/v1/vulns/none") as answer,
        ):
            if answer.status < 500:
                return Health(ok=True, what=f"advisories can be asked at {url}")
            why = f"status {answer.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or type(error).__name__
    return Health(
        ok=False,
        what=f"advisories can't be asked at {url}: {why}",
        mend="open the way to it, or name a mirror: osv_url",
    )
