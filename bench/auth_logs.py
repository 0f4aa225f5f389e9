"""The auth_logs collector beside Debian's mtail, over the same lines, in the same run.

    python bench/auth_logs.py [--lines 1000000] [--rounds 1]

A log as Supabase Auth writes it: request lines (half of them refreshes), Login and audit lines, refused sign-ins from
many addresses, wrong codes, 429s. mtail runs a program that counts the same (sign-ins, failures by reason and address,
refreshes, errors, requests by path and status, durations in the same buckets) and reads the file once (`--one_shot`).
The collector reads it as it does in the daemon: in polls, with rotation looked for, position and counters saved and
synced to disk after each. Each of the log's 1,000 addresses keeps a series of its own (`top_ips: 1000`; the default is
50), as in mtail, where none is ever given up.

Printed for both: lines per CPU second (user and system, of the whole process with its start) and the process's highest
RSS; the ratio; and that the sums of seven counters agree, without which it fails. A missing mtail is told, and our
figures are printed alone. Figures are the best of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PROGRAM: Final = r"""
counter sign_in_attempts by outcome, method
counter failures by flow, reason, ip
counter mfa_verifications by outcome
counter refreshes by outcome
counter rate_limited by error_code
counter errors by error_code
counter requests by path, code
counter audit_events by action
counter logins by method
histogram duration by path buckets 5e6, 1e7, 2.5e7, 5e7, 1e8, 2.5e8, 5e8, 1e9, 2.5e9, 5e9, 1e10

/"status":(?P<code>\d+)/ {
  /"path":"(?P<path>[^"]*)"/ {
    requests[$path][$code]++
    /"duration":(?P<ns>\d+)/ {
      duration[$path] = $ns
    }
  }
  /"error_code":"(?P<reason>[a-z0-9_]+)"/ {
    errors[$reason]++
    $code == 429 {
      rate_limited[$reason]++
    }
    /"remote_addr":"(?P<ip>[^"]*)"/ {
      /"grant_type":"password"/ {
        $reason == "invalid_credentials" {
          sign_in_attempts["failure"]["password"]++
          failures["sign_in"][$reason][$ip]++
        }
      }
      /"grant_type":"refresh_token"/ {
        failures["refresh"][$reason][$ip]++
        refreshes["failure"]++
      }
      $reason == "otp_expired" {
        failures["otp"][$reason][$ip]++
        sign_in_attempts["failure"]["otp"]++
      }
      $reason == "mfa_verification_failed" {
        failures["mfa"][$reason][$ip]++
        mfa_verifications["failure"]++
      }
    }
  }
  /"grant_type":"refresh_token".*"status":200/ {
    refreshes["success"]++
  }
}
/"msg":"Login"/ {
  /"login_method":"(?P<method>[a-z0-9]+)"/ {
    logins[$method]++
    $method != "token" && $method != "mfa" {
      sign_in_attempts["success"][$method]++
    }
  }
}
/"msg":"audit_event"/ {
  /"action":"(?P<action>[a-z_]+)"/ {
    audit_events[$action]++
  }
}
"""
"""What the collector counts, as far as mtail's language says it. Keys of a line are in alphabetical order."""


def write_log(path: Path, lines: int) -> None:
    """`lines` lines, the same ones every time."""
    chance = random.Random(20260820)
    with path.open("wb", buffering=1 << 20) as file:
        written = 0
        while written < lines:
            for line in _story(chance, written)[: lines - written]:
                file.write(orjson.dumps(line, option=orjson.OPT_SORT_KEYS) + b"\n")
                written += 1


def _story(chance: random.Random, number: int) -> list[dict[str, Any]]:
    """The lines of one request."""
    seconds, what = number // 50, chance.random()
    when = f"2026-08-20T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"
    id = f"{chance.getrandbits(128):032x}"
    ip = f"203.0.{chance.randrange(4)}.{chance.randrange(250)}"
    base: dict[str, Any] = {
        "component": "api", "level": "info", "method": "POST", "path": "/token", "referer": "https://app.example.com",
        "remote_addr": ip, "request_id": id, "time": when,
    }  # fmt: skip
    took = int(chance.lognormvariate(17.5, 0.8))
    request = {**base, "msg": "request completed", "status": 200, "duration": took}
    if what < 0.5:
        done = {**request, "grant_type": "refresh_token"}
        login = {**base, "msg": "Login", "metering": True, "action": "login", "login_method": "token", "user_id": id}
        return [_audit(base, "token_refreshed", id), login, done]
    if what < 0.6:
        login = {**base, "msg": "Login", "metering": True, "action": "login", "login_method": "password", "user_id": id}
        return [_audit(base, "login", id), login, {**request, "grant_type": "password"}]
    if what < 0.7:
        refused = {"status": 400, "error_code": "invalid_credentials", "error": "400: Invalid login credentials"}
        return [{**request, "grant_type": "password", **refused}]
    if what < 0.72:
        used = {"status": 400, "error_code": "refresh_token_already_used", "error": "Possible abuse attempt: 4711"}
        return [{**request, "grant_type": "refresh_token", **used}]
    if what < 0.73:
        return [{**request, "status": 429, "error_code": "over_request_rate_limit", "error": "429: Rate limit reached"}]
    if what < 0.74:
        return [{**request, "path": "/verify", "status": 403, "error_code": "otp_expired", "error": "403: expired"}]
    return [{**request, "method": "GET", "path": "/user"}]


def _audit(base: dict[str, Any], action: str, id: str) -> dict[str, Any]:
    event = {
        "action": action, "actor_id": id, "actor_username": f"{id[:8]}@example.com", "actor_via_sso": False,
        "audit_log_id": id, "created_at": base["time"], "ip_address": "", "log_type": "account",
        "request_id": base["request_id"], "traits": {"provider": "email"}, "user_agent": "Mozilla/5.0",
    }  # fmt: skip
    return {**base, "msg": "audit_event", "auth_audit_event": event}


@dataclass(frozen=True)
class Figure:
    """One run of one program."""

    cpu: float
    """Seconds."""
    rss: float
    """MiB."""
    counted: dict[str, int]


def run(command: list[str]) -> tuple[float, float, str]:
    """CPU seconds, highest RSS in MiB, and what it printed."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command[0]} ended with {process.returncode}")
        out.seek(0)
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read().decode()


def mtail(log: Path, folder: Path) -> Figure:
    """Raises PeerMissing."""
    from tocsin.testing.peers import peer  # not in the collector's process, whose start counts

    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "auth.mtail").write_text(PROGRAM)
    command = [str(peer("mtail")), "--one_shot", "--one_shot_format", "json", "--progs", str(programs)]
    cpu, rss, said = run([*command, "--logs", str(log), "--log_dir", str(folder)])
    metrics = orjson.loads(said[said.index("{") :])
    counted = {
        name: sum(value["Value"]["Value"] for metric in metrics[name] for value in metric.get("LabelValues") or ())
        for name in _SHARED
    }
    return Figure(cpu, rss, counted)


_SHARED: Final = {
    "sign_in_attempts": "tocsin_auth_sign_in_attempts_total",
    "failures": "tocsin_auth_failures_total",
    "refreshes": "tocsin_auth_refreshes_total",
    "rate_limited": "tocsin_auth_rate_limited_total",
    "errors": "tocsin_auth_errors_total",
    "requests": "tocsin_auth_requests_total",
    "audit_events": "tocsin_auth_audit_events_total",
}
"""mtail's name of a counter and ours."""


def ours(log: Path, folder: Path) -> Figure:
    (folder / "checkpoint").unlink(missing_ok=True)
    cpu, rss, said = run([sys.executable, __file__, "--collect", str(log)])
    return Figure(cpu, rss, orjson.loads(said))


async def collect(log: Path) -> None:
    """The collector as the daemon runs it, until nothing is left to read; then its sums, as JSON."""
    from collectors.auth_logs import SPEC
    from tocsin.model import Sample
    from tocsin.ports import CollectorContext

    class Checkpoint:
        async def load(self) -> bytes | None:
            return None

        async def save(self, blob: bytes) -> None:
            new = log.with_name("checkpoint.new")
            with new.open("wb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())
            new.replace(log.with_name("checkpoint"))

    settings = SPEC.settings.model_validate(
        {"kind": "auth_logs", "name": "auth", "source": {"file": log.name}, "start": "beginning", "top_ips": 1000}
    )
    context = CollectorContext(checkpoint=Checkpoint(), poke=lambda: None, folder=log.parent)
    collector, unread = SPEC.build(settings, context), 1.0
    sums: dict[str, float] = {}
    while unread:
        at, sums = datetime.now(UTC), {}
        async for item in collector.collect(at):
            if isinstance(item, Sample) and item.at == at:
                sums[item.name] = sums.get(item.name, 0.0) + item.value
        unread = sums["tocsin_auth_log_unread_bytes"]
    await collector.close()
    print(orjson.dumps({name: int(sums[metric]) for name, metric in _SHARED.items()}).decode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--collect", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.collect is not None:
        asyncio.run(collect(given.collect))
        return 0
    from tocsin.testing.peers import PeerMissing

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "auth.jsonl"
        write_log(log, given.lines)
        print(f"{given.lines:,} lines, {log.stat().st_size / 2**20:.0f} MiB")
        here = _best(ours, log, folder, given.rounds, "tocsin", given.lines)
        try:
            there = _best(mtail, log, folder, given.rounds, "mtail", given.lines)
        except PeerMissing as why:
            print(f"mtail is not here: {why}")
            return 0
    print(
        f"tocsin / mtail: {there.cpu / here.cpu:.2f} × the lines per CPU second, {here.rss / there.rss:.2f} × the RSS"
    )
    if here.counted != there.counted:
        print(f"They counted differently:\n  tocsin {here.counted}\n  mtail  {there.counted}")
        return 1
    print("Both counted the same:", ", ".join(f"{name} {count:,}" for name, count in here.counted.items()))
    return 0


def _best(program: Any, log: Path, folder: Path, rounds: int, name: str, lines: int) -> Figure:
    figure: Figure = min((program(log, folder) for _ in range(rounds)), key=lambda figure: figure.cpu)
    print(f"{name}: {lines / figure.cpu:,.0f} lines per CPU second ({figure.cpu:.2f} CPU s), RSS {figure.rss:.0f} MiB")
    return figure


if __name__ == "__main__":
    sys.exit(main())
