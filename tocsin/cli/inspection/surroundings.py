"""What is around the configuration on this machine: secrets, folders to write to, plug-ins. Warnings: where the check
runs need not be where the daemon does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tocsin.access.sealing import KEY_FILE
from tocsin.cli.inspection.subject import Check, Remark, Subject
from tocsin.config.document import KeyPath
from tocsin.errors import ConfigError, Finding
from tocsin.ports import CollectorSpec, NotifierSpec
from tocsin.runtime import plugins
from tocsin.runtime.plugins import Catalogue, PluginError


def secrets_are_there(subject: Subject) -> Iterator[Remark]:
    """The daemon refuses to start without them; a check in CI has none."""
    for finding in subject.config.missing_secrets:
        yield Remark(finding=finding, is_warning=True)


def folders_are_writable(subject: Subject) -> Iterator[Remark]:
    """Where the state file and the series journal go."""
    config = subject.config
    yield from _writable(subject, ("series", "path"), config.series_path, "series.path")
    try:
        url = config.state_url
    except ConfigError:
        return  # its secret is missing, which is said already
    if url.startswith("sqlite"):
        yield from _writable(subject, ("state", "url"), Path(url.partition(":///")[2]).parent, "state.url")


def plugins_load(subject: Subject) -> Iterator[Remark]:
    """One that is not configured harms nothing, and is told; two of one kind are a mistake."""
    catalogues: tuple[Catalogue[CollectorSpec] | Catalogue[NotifierSpec], ...]
    catalogues = (plugins.collectors(), plugins.notifiers())
    for catalogue in catalogues:
        try:
            catalogue.load_all()
        except PluginError as error:
            yield Remark(finding=Finding(file=catalogue.package, line=0, what=str(error), mend=error.mend))
        for origin, broken in catalogue.broken().items():
            yield Remark(finding=Finding(file=origin, line=0, what=str(broken), mend=broken.mend), is_warning=True)


def secret_files_are_private(subject: Subject) -> Iterator[Remark]:
    """The state has tokens' digests and sessions, the key opens what sessions hold: for the daemon's user alone."""
    try:
        url = subject.config.state_url
    except ConfigError:
        return  # its secret is missing, which is said already
    if not url.startswith("sqlite"):
        return
    state = Path(url.partition(":///")[2])
    for file in (state, state.with_name(KEY_FILE)):
        if file.exists() and file.stat().st_mode & 0o077:
            what = f"{file} can be read by other users of this machine"
            finding = subject.config.finding(("state", "url"), what, f"chmod 600 {file}")
            yield Remark(finding=finding, is_warning=True)


CHECKS: Final[tuple[Check, ...]] = (secrets_are_there, folders_are_writable, secret_files_are_private, plugins_load)


def _writable(subject: Subject, path: KeyPath, folder: Path, key: str) -> Iterator[Remark]:
    """A folder that is not there yet is made by the daemon, when the one above it may be written."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = f"{key}: nothing can be written to {there} by this user"
        mend = "give the daemon's user the right to, or name another place"
        yield Remark(finding=subject.config.finding(path, what, mend), is_warning=True)
