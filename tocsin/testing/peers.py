"""Real peers from Debian's packages, for tests and benchmarks: promtool, Prometheus, Alertmanager, Redis, Chromium.

`peer("promtool")` downloads the package that holds the program (apt-get download, no installation, no service started)
into `.peers/` of the checkout and returns the program's path. Where that can't be done it raises PeerMissing, which
says how to get it; the tests turn that into a skip, or into a failure when TOCSIN_PEERS=required.

Chromium and Redis want libraries (and fonts) that a server may lack: what `apt-get install` would bring is unpacked
beside them, and `chromium()` and `redis_server()` say with which environment they find them. One that is installed
already is taken as it is.

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
    "redis-server": ("redis-server", "usr/bin/redis-server"),
    "chromium": ("chromium", "usr/lib/chromium/chromium"),
    "libfaketime": ("libfaketime", f"usr/lib/{sysconfig.get_config_var('MULTIARCH')}/faketime/libfaketimeMT.so.1"),
}
"""Program → (Debian package, path inside it)."""

_WITH_OTHERS: Final = {"chromium": ("fonts-inter", "fonts-dejavu-core"), "redis-server": ()}
"""Packages whose dependencies are unpacked too, and what they need besides: without fonts Chromium's pages have no
letters; Inter is what the screenshots are set in."""
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
    path, installed = FOLDER / package / inside, Path("/") / inside
    if package in _WITH_OTHERS and installed.exists():
        return installed
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
    path, folder = peer("chromium"), FOLDER / "chromium"
    if not path.is_relative_to(folder):
        return path, dict(os.environ)
    config = folder / "fonts.conf"
    config.write_text(_FONT_CONFIG.format(folder=folder))
    return path, {**_with_libraries(folder), "FONTCONFIG_FILE": str(config)}


def redis_server() -> tuple[Path, dict[str, str]]:
    """(Redis' path, the environment that it runs in). Raises PeerMissing."""
    path, folder = peer("redis-server"), FOLDER / "redis-server"
    return path, _with_libraries(folder) if path.is_relative_to(folder) else dict(os.environ)


def _with_libraries(folder: Path) -> dict[str, str]:
    libraries = sorted({str(found.parent) for found in (folder / "usr" / "lib").rglob("*.so*")})
    found = [*libraries, os.environ.get("LD_LIBRARY_PATH", "")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, found))}


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
                taken = package in _WITH_OTHERS
                instead = f"; or apt-get install {package}: an installed one is taken" if taken else ""
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
    if package in _WITH_OTHERS:
        # All that isn't installed here yet, in the words of apt: Inst NAME (VERSION …).
        command = ["apt-get", "-qq", "--simulate", "install", "--no-install-recommends", package]
        command += _WITH_OTHERS[package]
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
            found = peer(name)
            within = found.is_relative_to(FOLDER)
            sys.stdout.write(f"{name}: {found.relative_to(FOLDER.parent) if within else found}\n")
        except PeerMissing as missing:
            sys.exit(f"{name}: {missing}")
