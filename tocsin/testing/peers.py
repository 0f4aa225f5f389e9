"""Real peers from Debian's packages, for tests and benchmarks: promtool, Prometheus, Alertmanager, Chromium.

`peer("promtool")` downloads the package that holds the program (apt-get download, no installation, no service started)
into `.peers/` of the checkout and returns the program's path. Where that can't be done it raises PeerMissing, which
says how to get it; the tests turn that into a skip, or into a failure when TOCSIN_PEERS=required.

Chromium wants libraries and fonts that a server may lack: what `apt-get install` would bring is unpacked beside it, and
`chromium()` says with which environment it finds them. One that is installed already is taken as it is.

From a shell: `python -m tocsin.testing.peers promtool amtool`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tocsin.errors import TocsinError

PROGRAMS: Final = {
    "promtool": ("prometheus", "usr/bin/promtool"),
    "prometheus": ("prometheus", "usr/bin/prometheus"),
    "alertmanager": ("prometheus-alertmanager", "usr/bin/prometheus-alertmanager"),
    "amtool": ("prometheus-alertmanager", "usr/bin/amtool"),
    "victoria-metrics": ("victoria-metrics", "usr/bin/victoria-metrics"),
    "postgres_exporter": ("prometheus-postgres-exporter", "usr/bin/prometheus-postgres-exporter"),
    "blackbox_exporter": ("prometheus-blackbox-exporter", "usr/bin/prometheus-blackbox-exporter"),
    "mtail": ("mtail", "usr/bin/mtail"),
    "chromium": ("chromium", "usr/lib/chromium/chromium"),
    "libfaketime": ("libfaketime", f"usr/lib/{sysconfig.get_config_var('MULTIARCH')}/faketime/libfaketimeMT.so.1"),
}
"""Program → (Debian package, path inside it)."""

_FONTS: Final = ("fonts-inter", "fonts-dejavu-core")
"""What Chromium needs besides its libraries, or its pages have no letters; Inter is what the screenshots are set in."""
_FONT_CONFIG: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir><dir>{folder}/usr/share/fonts</dir><cachedir>{folder}/cache</cachedir>
  <alias binding="same"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="same"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="same"><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""

FOLDER: Final = Path(__file__).resolve().parents[2] / ".peers"


class PeerMissing(TocsinError):
    """A real peer could not be fetched."""


def peer(program: str) -> Path:
    """The path of a peer's program, fetched when it is not here yet. Raises PeerMissing."""
    package, inside = PROGRAMS[program]
    path = FOLDER / package / inside
    if path.exists():
        return path
    FOLDER.mkdir(exist_ok=True)
    with _lock(FOLDER / f"{package}.lock"):
        if not path.exists():
            _fetch(package)
    if not path.exists():
        raise PeerMissing(f"Debian's package {package} holds no {inside}")
    return path


def chromium() -> tuple[Path, dict[str, str]]:
    """(Chromium's path, the environment that it runs in). Raises PeerMissing."""
    package, inside = PROGRAMS["chromium"]
    installed = Path("/") / inside
    if installed.exists():
        return installed, dict(os.environ)
    path, folder = peer("chromium"), FOLDER / package
    config = folder / "fonts.conf"
    config.write_text(_FONT_CONFIG.format(folder=folder))
    libraries = sorted({str(found.parent) for found in (folder / "usr" / "lib").rglob("*.so*")})
    found = [*libraries, os.environ.get("LD_LIBRARY_PATH", "")]
    return path, {**os.environ, "FONTCONFIG_FILE": str(config), "LD_LIBRARY_PATH": ":".join(filter(None, found))}


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Two test workers fetch a package once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(package: str) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise PeerMissing(f"{package} comes from Debian's packages and this machine has no apt-get and dpkg-deb")
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        Path(folder).chmod(0o755)  # apt downloads as an unprivileged user
        if not _downloaded(package, folder):
            # A fresh machine has no package lists yet.
            _ran(["apt-get", "-qq", "update"], folder)
            if not _downloaded(package, folder):
                instead = "; or apt-get install chromium: an installed one is taken" if package == "chromium" else ""
                raise PeerMissing(
                    f"apt-get download {package} failed; run 'apt-get update' as root, then try again{instead}"
                )
        unpacked = Path(folder) / "unpacked"
        for archive in Path(folder).glob("*.deb"):
            if not _ran(["dpkg-deb", "-x", str(archive), str(unpacked)], folder):
                raise PeerMissing(f"dpkg-deb could not unpack {archive.name}; remove {FOLDER.name}/ and try again")
        unpacked.rename(FOLDER / package)


def _downloaded(package: str, folder: str) -> bool:
    wanted = [package]
    if package == "chromium":
        # All that isn't installed here yet, in the words of apt: Inst NAME (VERSION …).
        command = ["apt-get", "-qq", "--simulate", "install", "--no-install-recommends", package, *_FONTS]
        lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.splitlines()
        wanted = [line.split()[1] for line in lines if line.startswith("Inst ")]
        if package not in wanted:
            return False
    return _ran(["apt-get", "-qq", "download", *wanted], folder)


def _ran(command: list[str], folder: str) -> bool:
    run = subprocess.run(
        command, cwd=folder, capture_output=True, timeout=300, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    )
    return run.returncode == 0


if __name__ == "__main__":
    for name in sys.argv[1:] or PROGRAMS:
        try:
            sys.stdout.write(f"{name}: {peer(name).relative_to(FOLDER.parent)}\n")
        except PeerMissing as missing:
            sys.exit(f"{name}: {missing}")
