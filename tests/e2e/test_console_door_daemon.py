"""The door of the real daemon: two processes on one Postgres, over HTTP, under attack."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tocsin.testing.forge import ISSUER, SECRET, Forge
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.protected import Target
from tocsin.testing.supabase import BEFORE_USER_CREATED, FakeAuth, HttpHook

from .test_access_attacks import AT, BAD_CLAIMS, BAD_HEADERS
from .test_access_attacks_fuzzed import FUZZED, attack_with

PATIENCE = 30.0
HOOK_SECRETS = tuple(f"v1,whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"o", b"n"))
"""Of the sign-up hook, while it is rotated."""
ROLES = {"ana@example.com": "admin", "vic@example.com": "viewer", "old@example.com": "viewer"}


@dataclass
class Door:
    """One daemon's port."""

    port: int

    def ask(self, path: str, token: str = "", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            if token:
                given["Authorization"] = f"Bearer {token}"
            connection.request(method, path, headers=given)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def status(self, token: str, path: str = "/metrics") -> int:
        return self.ask(path, token)[0]


@dataclass
class Site:
    """Two daemons, the keys they take, and a command line on their host."""

    doors: list[Door]
    forges: dict[str, Forge]
    published: list[Forge]
    folder: Path
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def tocsin(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tocsin", *arguments], cwd=self.folder, env=self.env, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def site(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("door")
    postgres.execute("create database door owner postgres")
    forges = {"ES256": Forge.es256(), "RS256": Forge.rs256(), "HS256": Forge.hs256()}
    published = [forges["ES256"], forges["RS256"]]

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = published[0].jwks(*published[1:])
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    keys = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=keys.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{keys.server_address[1]}"
    env = {
        **os.environ, "JWT_SECRET": SECRET, "SESSION_KEY": "k" * 40, "HOOK": "|".join(HOOK_SECRETS),
        "STATE": f"postgresql://postgres:{postgres.password}@127.0.0.1:{postgres.port}/door",
    }  # fmt: skip
    site = Site([], forges, published, folder, env)
    processes = site.processes
    try:
        for number in (1, 2):
            (folder / f"{number}.yaml").write_text(
                "routes: [{notify: [log]}]\nnotifiers: [{kind: console, name: log}]\nrules: []\n"
                f"series: {{path: series-{number}}}\nstate: {{url_env: STATE}}\n"
                "web:\n  listen: 127.0.0.1:0\n  session: {key_env: SESSION_KEY}\n"
                f"  supabase: {{url: '{address}', issuer: '{ISSUER}', jwks_url: '{address}/keys', "
                "jwt_secret_env: JWT_SECRET, hook_secret_env: HOOK}\n"
            )
            with (folder / f"{number}.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tocsin", "run", "--config", f"{number}.yaml"], cwd=folder, env=env,
                    stdout=subprocess.PIPE, stderr=log,
                )  # fmt: skip
            processes.append(process)
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / f"{number}.log").read_text()
            site.doors.append(Door(int(json.loads(line)["address"].rpartition(":")[2])))
        for email, role in ROLES.items():
            site.tocsin("allowlist", "add", email, "--role", role, "--config", "1.yaml")
        yield site
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(PATIENCE)
            assert process.stdout is not None
            process.stdout.close()
        keys.shutdown()
        keys.server_close()


ALGORITHMS = ("ES256", "RS256", "HS256")


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_an_access_token_of_each_algorithm_comes_in_by_its_role(site: Site, alg: str) -> None:
    """Or the attacks below would prove nothing."""
    forge = site.forges[alg]
    admin, viewer = forge.token(), forge.token(email="vic@example.com")
    found = [site.doors[0].status(token, path) for token in (admin, viewer) for path in ("/metrics", "/openapi.json")]
    assert (found, site.doors[1].status(viewer, "/api/tocsin/v1/sessions")) == ([200] * 4, 403)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_no_attack_on_a_token_comes_in(site: Site, alg: str) -> None:
    """Each case of the attack suite, where keys and a shared secret are both taken: the widest door there is."""
    forge, other = site.forges[alg], Forge.es256(kid=site.forges[alg].kid)
    tokens = {name: forge.token(**_of_today(claims)) for name, claims in BAD_CLAIMS.items()}
    tokens |= {name: forge.token(header=header) for name, header in BAD_HEADERS.items()}
    tokens["another key of that kid"] = other.token()
    tokens["no signature"] = forge.token().rpartition(".")[0] + "."
    tokens["too long"] = forge.token(padding="x" * 9000)
    tokens["two megabytes"] = forge.token(padding="x" * 2_000_000)
    tokens["a key of its own"] = other.token(header={"jwk": other.jwk()})
    tokens["another spelling"], tokens["a twin's end"] = f"{forge.token()}==", forge.token() + "="
    public = Forge(alg="HS256", key=json.dumps(site.forges["ES256"].jwk()).encode(), kid=forge.kid)
    tokens["a public key as a secret"] = public.token()
    knock = Target(forge, site.doors[0].port)
    # 0 and 400: uvicorn hangs up on a head of megabytes.
    accepted = [
        name for name, token in tokens.items() if knock.status_of(token, path="/metrics") not in (0, 400, 401, 403)
    ]
    bearer = ("Authorization", f"Bearer {forge.token()}")
    twice = knock.status(bearer, bearer, path="/metrics")
    knock.close()
    assert (accepted, twice) == ([], 401)


@pytest.mark.untraced
def test_no_fuzzed_token_comes_in_at_the_daemon(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """As at a protected application; its people are let in afterwards as before."""
    knock = Target(site.forges["ES256"], site.doors[0].port)
    doors = {alg: (forge, lambda token: knock.status_of(token, path="/metrics")) for alg, forge in site.forges.items()}
    count = attack_with(doors, capsys)
    knock.close()
    assert (count.accepted, count.broken, count.sent > FUZZED // 2) == ([], [], True)
    assert {site.doors[0].status(forge.token()) for forge in site.forges.values()} == {200}


def _of_today(claims: dict[str, Any]) -> dict[str, Any]:
    """Times are meant relative to the suite's own clock, which stands still; the daemon's does not."""
    times = {"iat", "exp", "nbf"}
    shift = int(time.time()) - AT
    return {
        name: value + shift if name in times and isinstance(value, int) else value for name, value in claims.items()
    }


def test_a_removal_from_the_list_bites_within_two_seconds_in_every_process(site: Site) -> None:
    """Both have let in the viewer just now, and neither made the change."""
    token = site.forges["ES256"].token(email="old@example.com")
    before = [door.status(token) for door in site.doors]
    site.tocsin("allowlist", "remove", "old@example.com", "--config", "1.yaml")
    removed = time.monotonic()
    after = [0, 0]
    while time.monotonic() - removed < 2.0 and after != [403, 403]:
        after = [door.status(token) for door in site.doors]
    assert (before, after) == ([200, 200], [403, 403])


def test_keys_that_rotate_under_load_refuse_no_valid_token(site: Site) -> None:
    """The next key is published first, then signed with: all tokens of both are taken throughout."""
    old, new = site.forges["ES256"], Forge.es256()
    tokens = [old.token() for _ in range(4)]
    statuses: list[int] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            statuses.extend(site.doors[1].status(token, "/openapi.json") for token in list(tokens))

    loads = [threading.Thread(target=load) for _ in range(2)]
    for thread in loads:
        thread.start()
    try:
        site.published.insert(0, new)
        tokens.extend(new.token() for _ in range(4))
        deadline = time.monotonic() + PATIENCE
        while len(statuses) < 60 and time.monotonic() < deadline:
            stop.wait(0.05)
    finally:
        stop.set()
        for thread in loads:
            thread.join(PATIENCE)
    assert (len(statuses) >= 60, set(statuses)) == (True, {200})


def test_the_daemon_answers_with_the_headers_that_harden_a_browser(site: Site) -> None:
    """As it is served: uvicorn adds nothing that tells what it is."""
    status, headers, body = site.doors[0].ask("/login", Accept="text/html")
    assert (status, headers["x-frame-options"], "server" in headers) == (200, "DENY", False)
    assert re.search(rb"<script|\sstyle=", body) is None


def test_clients_that_never_finish_keep_nobody_out(site: Site) -> None:
    """A hundred halves of a head and of a body are held open; everybody else is answered as before."""
    port, token = site.doors[0].port, site.forges["ES256"].token()
    halves = (
        b"GET / HTTP/1.1\r\nHost: x\r\nX-",
        b"POST /login/password HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n",
    )
    with contextlib.ExitStack() as held:
        for number in range(100):
            slow = held.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            slow.sendall(halves[number % 2])
        answers = {site.doors[0].status(token, path) for path in ("/metrics", "/", "/login") for _ in range(5)}
    assert answers == {200}


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 2_000_000 + b"\r\n\r\n", {0, 400, 431}),
        (b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {0, 400, 414}),
        (b"GET http://evil.example/metrics HTTP/1.1\r\nHost: x\r\n\r\n", {400, 401}),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            {400, 401, 403},
        ),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", {400, 401, 404}),
    ],
    ids=["long header", "long path", "another's address", "two lengths", "negative length", "NUL"],
)
def test_a_request_that_is_none_is_refused(site: Site, sent: bytes, statuses: set[int]) -> None:
    """Answered so or hung up on (0), and the next client finds the daemon as it was."""
    answer = b""
    with socket.create_connection(("127.0.0.1", site.doors[0].port), PATIENCE) as client:
        # It need not read to its end what it refuses: a reset here is ConnectionError, or ENOTCONN once it was seen.
        with contextlib.suppress(OSError):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert (int(answer.split(b" ", 2)[1]) if answer else 0) in statuses
    assert site.doors[0].ask("/healthz")[0] == 200


PATHS = ["/../etc/passwd", "/static/../../server.py", "/static/..%2f..%2fserver.py", "//login"]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out(site: Site, path: str) -> None:
    """Raw, as no client library would send it."""
    assert site.doors[0].ask(path)[0] in (401, 404)


def test_what_openapi_tells_makes_no_server_error(site: Site) -> None:
    """schemathesis, with a token and without; TOCSIN_FUZZ examples per operation for a longer look."""
    schemathesis: Any = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, seed, settings

    door, token = site.doors[0], site.forges["ES256"].token()
    document = json.loads(door.ask("/openapi.json", token)[2])
    base = f"http://127.0.0.1:{door.port}"
    schema = schemathesis.openapi.from_dict(document)
    budget = int(os.environ.get("TOCSIN_FUZZ", "2"))
    failures: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()

        def check(case: Any) -> None:
            for headers in ({}, {"Authorization": f"Bearer {token}"}):
                status = case.call(base_url=base, headers=headers, timeout=20).status_code
                if status >= 500 and status != 503:
                    failures.append(f"{case.method} {case.path}: {status}")

        bounded = settings(
            max_examples=budget, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        seed(1)(bounded(given(case=operation.as_strategy())(check)))()
    assert failures == []


def test_a_sign_up_is_asked_of_the_daemon(site: Site) -> None:
    """By an Auth that signs with both secrets of a rotation; one that has neither lets nobody sign up."""
    site.tocsin("allowlist", "add", "staff.example", "--config", "1.yaml")
    uri = f"http://127.0.0.1:{site.doors[0].port}/hooks/before-user-created"

    async def signed_up(email: str, secrets: tuple[str, ...]) -> int:
        hooks = {BEFORE_USER_CREATED: HttpHook(uri, secrets)}
        async with FakeAuth(hooks=hooks) as auth, aiohttp.ClientSession() as session:
            sent = {"email": email, "password": "correct horse"}
            async with session.post(f"{auth.url}/signup", json=sent, headers={"apikey": auth.api_key}) as response:
                return response.status

    async def all_of_them() -> list[int]:
        strange = f"v1,whsec_{base64.b64encode(b'x' * 32).decode()}"
        return [
            await signed_up("ana@staff.example", HOOK_SECRETS), await signed_up("ana@staff.example", HOOK_SECRETS[1:]),
            await signed_up("eve@evil.example", HOOK_SECRETS), await signed_up("ana@staff.example", (strange,)),
        ]  # fmt: skip

    assert asyncio.run(all_of_them()) == [200, 200, 403, 500]


def test_a_reload_of_the_project_takes_effect_or_is_refused_in_words(site: Site) -> None:
    """SIGHUP: a mistake is named and changes nothing; a shorter life is asked of every token from then on."""
    file, log, token = site.folder / "2.yaml", site.folder / "2.log", site.forges["ES256"].token()
    good = file.read_text()

    def reloaded(text: str, event: str) -> bytes:
        seen = log.stat().st_size
        file.write_text(text)
        site.processes[1].send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while event.encode() not in log.read_bytes()[seen:] and time.monotonic() < deadline:
            time.sleep(0.05)
        return log.read_bytes()[seen:]

    try:
        refused = reloaded(good.replace("issuer:", "max_lifetime: never, issuer:"), "config.kept")
        kept = site.doors[1].status(token)
        reloaded(good.replace("issuer:", "max_lifetime: 60s, issuer:"), "config.reloaded")
        shorter = site.doors[1].status(token)
    finally:
        reloaded(good, "config.reloaded")
    assert (b"2.yaml:" in refused, b"max_lifetime" in refused) == (True, True)
    assert (kept, shorter, site.doors[1].status(token)) == (200, 401, 200)


def test_a_service_token_is_revoked_in_every_process(site: Site) -> None:
    """Within the two seconds for which one is remembered."""
    made = json.loads(site.tocsin("token", "create", "--scope", "metrics:read", "--json", "--config", "1.yaml"))
    before = [door.status(made["token"]) for door in site.doors]
    site.tocsin("token", "revoke", made["id"], "--config", "1.yaml")
    revoked, after = time.monotonic(), [0, 0]
    while time.monotonic() - revoked < 3.0 and after != [401, 401]:
        after = [door.status(made["token"]) for door in site.doors]
    assert (before, after) == ([200, 200], [401, 401])
