"""Secrets of a target, read where they are kept: in the environment, or in a file."""

from __future__ import annotations

import os
from pathlib import Path

from collectors.endpoint.probe import Secrets
from collectors.endpoint.target import Target, Tls
from tocsin.errors import CollectError


def secrets_of(target: Target) -> Secrets:
    """Those that `target` names. Read at every probe, so that a rotated file is taken up.

    Raises CollectError and OSError for one that is not there.
    """
    headers = {header: _from_env(variable) for header, variable in target.headers_env.items()}
    headers |= {header: _from_file(path) for header, path in target.headers_file.items()}
    if target.bearer_token_env:
        headers["authorization"] = f"Bearer {_from_env(target.bearer_token_env)}"
    if target.bearer_token_file:
        token = _from_file(target.bearer_token_file)
        if not token.isascii():
            raise CollectError(f"{target.bearer_token_file} is not one line of text; write the token and nothing else")
        headers["authorization"] = f"Bearer {token}"
    variables = {name: _from_env(variable) for name, variable in target.secrets_env.items()}
    variables |= {name: _from_file(path) for name, path in target.secrets_file.items()}
    return Secrets(headers=headers, variables=variables)


def with_paths(target: Target, folder: Path) -> Target:
    """`target` with its files relative to `folder`."""

    def resolved(model: Tls | Target, *names: str) -> dict[str, str]:
        return {name: str(folder / path) for name in names if (path := getattr(model, name))}

    tls = target.tls.model_copy(update=resolved(target.tls, "ca_file", "cert_file", "key_file"))
    files = {
        key: {name: str(folder / path) for name, path in getattr(target, key).items()}
        for key in ("secrets_file", "headers_file")
    }
    return target.model_copy(update={**resolved(target, "bearer_token_file"), "tls": tls, **files})


def _from_file(path: str) -> str:
    text = Path(path).read_text(encoding="utf-8").strip()
    if not text or not text.isprintable():
        raise CollectError(f"{path} is not one line of text; write the secret and nothing else")
    return text


def _from_env(variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise CollectError(f"the environment variable {variable} is not set; set it where the daemon is started")
    if not value.isprintable():
        raise CollectError(f"the environment variable {variable} holds line breaks; a header can't")
    return value
