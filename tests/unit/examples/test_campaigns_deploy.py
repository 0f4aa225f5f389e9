"""The example's deploy files say what the code reads: arguments, ports, variables, paths."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.campaigns.__main__ import FAULTS, _arguments
from examples.campaigns.app import ROUTES
from tocsin.asgi.settings import Settings

REQUIRED = {"DATABASE_URL", "TOCSIN_APP_SUPABASE_URL", "TOCSIN_APP_ALLOWLIST", "TOCSIN_APP_METRICS_TOKEN"}


@pytest.fixture(scope="module")
def deploy(root: Path) -> Path:
    return root / "examples" / "campaigns" / "deploy"


def instructions(deploy: Path) -> dict[str, str]:
    """The last of each of the container file's instructions, lines joined."""
    text = (deploy / "Containerfile").read_text().replace("\\\n", " ")
    return dict(line.split(" ", 1) for line in text.splitlines() if re.match(r"[A-Z]+ ", line))


def told(command: list[str]) -> Any:
    """What the service makes of a command; the part behind `-m examples.campaigns`."""
    at = command.index("examples.campaigns")
    assert command[at - 1] == "-m"
    return _arguments(command[at + 1 :])


def compose(deploy: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((deploy / "compose.yaml").read_text())["services"]
    return found


def unit(deploy: Path) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(deploy / "campaigns.service")
    return parser["Service"]


def manifests(deploy: Path) -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((deploy / "kubernetes.yaml").read_text())}


def container(deploy: Path) -> dict[str, Any]:
    found: dict[str, Any] = manifests(deploy)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_every_command_is_one_that_the_service_takes(deploy: Path) -> None:
    """And listens where the others look for it."""
    image = instructions(deploy)
    entry, more = json.loads(image["ENTRYPOINT"]), json.loads(image["CMD"])
    for command in (entry + more, entry + container(deploy)["args"], shlex.split(unit(deploy)["ExecStart"])):
        arguments = told(command)
        assert (arguments.port, arguments.prepare, arguments.dsn_env) == (8000, True, "DATABASE_URL")
    assert told(entry + more).host == "0.0.0.0"
    assert told(shlex.split(unit(deploy)["ExecStart"])).host == "127.0.0.1"


def test_the_ports_agree(deploy: Path) -> None:
    """Of the image, the balancer in front of it, and who watches."""
    service = manifests(deploy)["Service"]["spec"]["ports"][0]
    assert instructions(deploy)["EXPOSE"] == "8000"
    assert container(deploy)["ports"] == [{"name": service["targetPort"], "containerPort": 8000}]
    assert compose(deploy)["campaigns"]["ports"] == ["127.0.0.1:8000:8000"]
    watched = yaml.safe_load((deploy / "tocsin.yaml").read_text())["collectors"]
    addresses = [target["url"] for collector in watched for target in collector.get("targets", ())]
    assert [address.rsplit("/", 1)[0] for address in addresses] == ["http://campaigns:8000"] * 2
    assert "/healthz" in [route.path for route in ROUTES]
    probes = [container(deploy)["readinessProbe"]["httpGet"]["path"], instructions(deploy)["HEALTHCHECK"]]
    assert ["/healthz" in probe for probe in probes] == [True, True]


def test_every_variable_is_one_that_is_read(deploy: Path) -> None:
    """By the service or by its neighbours; faults are for the demo alone."""
    example = {line.split("=")[0] for line in (deploy / "env.example").read_text().splitlines() if line[:1].isupper()}
    kubernetes = {one["name"] for one in container(deploy)["env"]}
    service = set(compose(deploy)["campaigns"]["environment"])
    for names in (example, kubernetes, service):
        assert names >= REQUIRED
        said = {name: "1" * 32 for name in names if name.startswith("TOCSIN_APP_")}
        Settings.from_environment(said | {"TOCSIN_APP_SUPABASE_URL": "https://ref.supabase.co"})
        assert FAULTS not in names
    asked = set(re.findall(r"\$\{(\w+):\?\}", (deploy / "compose.yaml").read_text()))
    assert asked <= example
    secret = {one["valueFrom"]["secretKeyRef"]["key"] for one in container(deploy)["env"] if "valueFrom" in one}
    assert secret <= example


def test_every_file_that_is_mounted_or_built_from_is_there(deploy: Path, root: Path) -> None:
    """All but the allowlist, which is yours."""
    for service in compose(deploy).values():
        if "build" in service:
            assert (deploy / service["build"]["context"]).resolve() == root
            assert (root / service["build"]["dockerfile"]).is_file()
        sources = [volume.split(":")[0] for volume in service.get("volumes", ()) if volume.startswith(".")]
        assert [one for one in sources if not (deploy / one).is_file()] in ([], ["./allowlist.csv"])
    assert unit(deploy)["WorkingDirectory"] == "/opt/tocsin"
    assert instructions(deploy)["WORKDIR"] == "/opt/tocsin"


def test_what_tocsin_is_told_to_watch_is_a_configuration(deploy: Path, root: Path, tmp_path: Path) -> None:
    """As `tocsin check` takes it, with the rules of the installed copy."""
    text = (deploy / "tocsin.yaml").read_text().replace("/var/lib/tocsin", str(tmp_path))
    (tmp_path / "config.yaml").write_text(text)
    check = "import sys; from tocsin.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", check, "check", "--config", str(tmp_path / "config.yaml")]
    environment = {"DATABASE_URL": "postgresql://x/y", "TOCSIN_APP_METRICS_TOKEN": "x", "SLACK_BOT_TOKEN": "xoxb-1"}
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=root, env={"PYTHONPATH": str(root), **environment}
    )
    assert (run.returncode, "fine" in run.stdout) == (0, True), run.stdout + run.stderr
