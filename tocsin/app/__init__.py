"""The daemon: puts the parts together; start, reload, drain.

    daemon = await Daemon.start(Path("config.yaml"), os.environ)
    await daemon.run()              # until SIGTERM or SIGINT; SIGHUP reloads

`daemon.py` has its life, `workshop.py` makes what the configuration names, `in_force.py` holds what it made and
replaces it at a reload, `welcome.py` tells whoever started it, `chores.py` is what is done every second, `replica.py`
what changes when this replica begins or ends to lead.
"""

from __future__ import annotations

from tocsin.app.daemon import Daemon, serve

__all__ = ["Daemon", "serve"]
