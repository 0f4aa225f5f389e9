"""What a daemon has loaded before anybody signs in: memory that most daemons never need."""

from __future__ import annotations

import subprocess
import sys


def test_the_daemon_loads_no_cryptography_before_a_project_is_configured() -> None:
    """17 MB of cryptography, PyJWT and psycopg: each comes with what asks for it."""
    program = (
        "import sys, tocsin.app; from tocsin.access.sealing import Seal; Seal(b'k' * 32).code('a', 'b');"
        "print(*[name for name in ('cryptography', 'jwt', 'psycopg', 'alembic') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
