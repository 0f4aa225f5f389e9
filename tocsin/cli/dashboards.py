"""`tocsin dashboards`: build the JSON from its typed source, copy it out, or push it to a Grafana."""

from __future__ import annotations

import sys
from pathlib import Path

import click

TOKEN_VARIABLE = "GRAFANA_TOKEN"  # noqa: S105 (its name, not its value)


@click.group()
def dashboards() -> None:
    """Grafana dashboards: build, export, push."""


@dashboards.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a JSON file differs from its source.")
def build(check: bool) -> None:
    """Write dashboards/*.json anew from dashboards/source/.

    For whoever changes a panel, in a checkout with the tools of the tests (make setup-dev).
    """
    folder = Path.cwd() / "dashboards"
    stale = [path for path, text in sorted(_built(folder).items()) if not path.exists() or path.read_text() != text]
    if check:
        for path in stale:
            click.echo(f"{path.relative_to(Path.cwd())}: differs from its source; run: tocsin dashboards build")
        sys.exit(1 if stale else 0)
    for path, text in _built(folder).items():
        path.write_text(text)
        click.echo(f"{path.relative_to(Path.cwd())}{' written' if path in stale else ' is up to date'}")


def _built(folder: Path) -> dict[Path, str]:
    """Each JSON file and what should be in it."""
    import importlib

    source = folder / "source"
    if not source.is_dir():
        raise click.UsageError("there is no dashboards/source here; run this in a checkout of Tocsin")
    try:
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
    except ImportError:
        raise click.UsageError("building needs Grafana's SDK, a tool of the checkout: make setup-dev") from None
    sys.path.insert(0, str(folder.parent))
    files = {}
    for path in sorted(source.glob("*.py")):
        module = importlib.import_module(f"dashboards.source.{path.stem}")
        if callable(getattr(module, "dashboard", None)):
            text = JSONEncoder(sort_keys=True, indent=2).encode(module.dashboard())
            files[folder / f"{path.stem}.json"] = text + "\n"
    return files


@dashboards.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def export(folder: Path) -> None:
    """Copy the dashboards' JSON files to FOLDER, for Grafana's import or provisioning."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in _shipped():
        (folder / path.name).write_bytes(path.read_bytes())
        click.echo(str(folder / path.name))


@dashboards.command()
@click.argument("url")
@click.option("--folder-uid", default="", help="Grafana folder to put them in.")
def push(url: str, folder_uid: str) -> None:
    """Create or update the dashboards in the Grafana at URL. The token comes from GRAFANA_TOKEN."""
    import os
    import urllib.error
    import urllib.request

    import orjson

    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise click.UsageError(f"set {TOKEN_VARIABLE} to a Grafana service account token with dashboards:write")
    if not url.startswith(("http://", "https://")):
        raise click.UsageError(f"URL must begin with http:// or https://, not {url!r}")
    for path in _shipped():
        body = {"dashboard": {**orjson.loads(path.read_bytes()), "id": None}, "overwrite": True}
        if folder_uid:
            body["folderUid"] = folder_uid
        request = urllib.request.Request(  # noqa: S310 (the scheme was checked)
            f"{url.rstrip('/')}/api/dashboards/db",
            data=orjson.dumps(body),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310
                click.echo(f"{path.stem}: {orjson.loads(answer.read()).get('url', 'pushed')}")
        except urllib.error.HTTPError as error:
            raise click.ClickException(
                f"{path.stem}: Grafana answered {error.code}: {error.read(500).decode()}"
            ) from None
        except (urllib.error.URLError, TimeoutError) as error:
            raise click.ClickException(f"{url}: {error}") from None


def _shipped() -> list[Path]:
    from tocsin.config import content_path

    return sorted(content_path("dashboards").glob("*.json"))
