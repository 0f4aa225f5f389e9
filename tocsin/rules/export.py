"""Rule files for a Prometheus, Mimir or vmalert beside Tocsin: they are that already, so they go as they are written.
What goes with them (an Alertmanager configuration) is written in the same breath.

Comments, order and formatting stay. Only the names of the files may change: two files of one name in different
folders are told apart by their folder's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from tocsin.errors import Finding, RuleError

from .load import load_rules


def exported_names(files: Iterable[Path]) -> dict[Path, str]:
    """What each file is called in one folder: its own name, with the folder's before it where two share one."""
    paths = list(dict.fromkeys(path.resolve() for path in files))
    count = Counter(path.name for path in paths)
    names: dict[Path, str] = {}
    for path in paths:
        name = path.name if count[path.name] == 1 else f"{path.parent.name}-{path.name}"
        while name in names.values():
            name = f"{path.parent.parent.name}-{name}" if path.parent.parent.name else f"_{name}"
        names[path] = name
    return names


def export_rules(
    files: Iterable[Path], folder: Path, *, overwrite: bool = False, beside: Mapping[str, str] = MappingProxyType({})
) -> Mapping[Path, Path]:
    """Write the rule files into `folder` (made if need be): source → copy. All of them, or none.

    `beside` are other files that go with them: name → text.

    Raises RuleError where a source can't be used, or a file of that name with other content is in the way and
    `overwrite` is not set.
    """
    names = exported_names(files)
    load_rules(names)
    targets = {source: folder / name for source, name in names.items()}
    contents = {target: source.read_bytes() for source, target in targets.items()}
    contents |= {folder / name: text.encode() for name, text in beside.items()}
    blocked = [
        Finding(file=str(target), line=0, what="is there already, with other content", mend="remove it, or use --force")
        for target, content in contents.items()
        if not overwrite and target.exists() and (not target.is_file() or target.read_bytes() != content)
    ]
    if blocked:
        raise RuleError(*blocked)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target, content in contents.items():
            target.write_bytes(content)
    except OSError as error:
        what = f"can't be written: {error.strerror or error}"
        raise RuleError.at(error.filename or folder, 0, what) from error
    return targets
