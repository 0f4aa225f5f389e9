"""How soon the shipped rules find attacks on sign-in, and how often they page about none.

    python bench/detection.py [--days 30] [--seed 1] [--seeds N] [--each 2] [--pace 30] [--without-hook]

Days of ordinary traffic (offices behind one address, shift starts, CI, slips, sessions that end) with attacks injected
go as GoTrue's log lines through the collector's counting and the rules of alert_rules/auth*.yaml, on a virtual clock.
Printed: for each kind of attack the time from the line that met the rule's condition (and from its first line) to the
alert, and the false alerts a day. Exit 1 when an attack was not found within two minutes of being due, or somebody was
paged (P0, P1) about none.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tocsin.rules import load_text
from tocsin.testing.sign_ins.replay import Account, replay

RULES = Path(__file__).resolve().parents[1] / "alert_rules"
AIM = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="this many, from --seed on")
    parser.add_argument("--each", type=int, default=2, help="attacks of every kind")
    parser.add_argument("--pace", type=float, default=30.0, help="seconds between polls")
    parser.add_argument("--without-hook", action="store_true", help="nothing tells whose password was wrong")
    options = parser.parse_args()
    files = sorted(RULES.glob("auth*.yaml"))
    groups = tuple(group for file in files for group in load_text(file.read_text(), str(file)))
    good = True
    for seed in range(options.seed, options.seed + options.seeds):
        began = time.perf_counter()
        account = replay(
            groups, days=options.days, seed=seed, hook=not options.without_hook, each=options.each, pace=options.pace
        )
        print(f"seed {seed}: {account.days} days, {account.lines:,} lines, at most {account.series} series at once, "
              f"{time.perf_counter() - began:.0f} s")  # fmt: skip
        good = told(account) and good
    sys.exit(0 if good else 1)


def told(account: Account) -> bool:
    """Print it; whether the aim was met."""
    missed = 0
    for name in dict.fromkeys(verdict.attack.kind.name for verdict in account.verdicts):
        of_kind = [verdict for verdict in account.verdicts if verdict.attack.kind.name == name]
        if not of_kind[0].attack.expects:
            print(f"  {name:32} needs the hook")
            continue
        due = [verdict.since_due for verdict in of_kind if verdict.since_due is not None]
        begin = [verdict.since_begin for verdict in of_kind if verdict.since_begin is not None]
        late = len(of_kind) - sum(1 for seconds in due if seconds <= AIM)
        missed += late
        found = f"{max(due):4.0f} s after it was due, {max(begin):5.0f} s after its first line" if due else "not found"
        by = ", ".join(sorted({v.found.name for v in of_kind if v.found}))
        print(f"  {name:32} {len(due)} of {len(of_kind)} found, at the latest {found} {by}")
    print(f"  false P0 and P1: {len(account.false_pages)} in {account.days} days; all false alerts, by name: "
          f"{account.by_name() or 'none'}")  # fmt: skip
    for fired in account.false_pages[:5]:
        print(f"    {fired}")
    return not missed and not account.false_pages


if __name__ == "__main__":
    main()
