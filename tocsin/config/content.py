"""Content (rules, dashboards, runbooks): beside config.yaml, else the copy that came with Tocsin.

A folder of that name beside config.yaml wins as a whole: content isn't mixed file by file. The bundled copy is
`tocsin/content/` in an installed wheel and the repository's own folders in a checkout.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Final, Literal

import tocsin
from tocsin.config.schema import Config
from tocsin.errors import ConfigError, Finding

Kind = Literal["alert_rules", "dashboards", "runbooks"]
KINDS: Final[tuple[Kind, ...]] = ("alert_rules", "dashboards", "runbooks")


def bundled_path(kind: Kind) -> Path:
    """The copy that came with Tocsin."""
    package = Path(tocsin.__file__).parent
    inside = package / "content" / kind
    return inside if inside.is_dir() else package.parent / kind


def content_path(kind: Kind, folder: Path = Path()) -> Path:
    """Where `kind` is for a config.yaml in `folder` (by default, here)."""
    own = folder / kind
    return own if own.is_dir() else bundled_path(kind)


def rule_files(config: Config) -> tuple[Path, ...]:
    """The files that `rules` names, sorted, each once. Raises ConfigError for a pattern that matches nothing."""
    files: dict[Path, None] = {}
    findings: list[Finding] = []
    for index, pattern in enumerate(config.rules):
        found = files_of(pattern, config.folder)
        if not found:
            mend = f"check the path: it is relative to {config.folder}"
            findings.append(config.finding(("rules", index), f"rules: no file matches '{pattern}'", mend))
        files.update(dict.fromkeys(found))
    if findings:
        raise ConfigError(*findings)
    return tuple(files)


def files_of(pattern: str, folder: Path) -> list[Path]:
    """The files that a glob matches; one below a content folder that isn't there matches in the bundled copy."""
    first, _, rest = pattern.partition("/")
    root = folder
    for kind in KINDS:
        if first == kind and rest:
            root, pattern = content_path(kind, folder), rest
    names = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207 (Path.glob refuses absolute patterns)
    return [root / name for name in sorted(names) if (root / name).is_file()]
