"""What must be read again but not by who reads the disk: AES-256-GCM, and the key's own file.

    seal = Seal(key_of_file(folder / "tocsin-session.key"))
    box = seal.close(b"secret", b"whose")        # `whose` is bound to it and not kept
    seal.open(box, b"whose")                     # raises Unsealable for any other

A value that was moved to another row does not open there. Where the key is lost, sessions end and people sign in again.

Source: NIST SP 800-38D: a 96-bit random nonce, good for 2^32 boxes of one key.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from base64 import urlsafe_b64encode
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tocsin.errors import TocsinError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_FILE: Final = "tocsin-session.key"
"""Beside the state, where no key is configured."""
LEAST_SECRET: Final = 32
_NONCE: Final = 12


class Unsealable(TocsinError):
    """It was sealed with another key, for something else, or is damaged."""


class Seal:
    """Seals with one secret, and makes codes that only it can make."""

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError for a secret of fewer than 32 bytes."""
        if len(secret) < LEAST_SECRET:
            raise ValueError(f"the session key has fewer than {LEAST_SECRET} bytes; make one: openssl rand -hex 32")
        # Two purposes, two keys: neither says anything about the other.
        self._secret = hmac.digest(secret, b"tocsin seal", hashlib.sha256)
        self._codes = hmac.digest(secret, b"tocsin codes", hashlib.sha256)

    @cached_property
    def _box(self) -> AESGCM:
        # 7 MB that a daemon does without until somebody signs in.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._secret)

    def close(self, clear: bytes, whose: bytes) -> bytes:
        """Encrypted, and bound to `whose`."""
        nonce = os.urandom(_NONCE)
        return nonce + self._box.encrypt(nonce, clear, whose)

    def open(self, box: bytes, whose: bytes) -> bytes:
        """What was sealed. Raises Unsealable."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._box.decrypt(box[:_NONCE], box[_NONCE:], whose)
        except (InvalidTag, ValueError):
            raise Unsealable("not sealed with this key, or for something else") from None

    def code(self, purpose: str, of: str) -> str:
        """A code of 43 URL-safe letters that belongs to `of`."""
        digest = hmac.digest(self._codes, f"{purpose}\0{of}".encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


def key_of_file(file: Path) -> bytes:
    """The key in `file`, made there (mode 0600) when there is none. Raises OSError, and ValueError for too short a one.

    Whole or not at all: the new key is written beside it and linked into place, so that of two processes that start at
    once both read the same one.
    """
    if not file.exists():
        fresh = file.with_name(f".{file.name}.{os.getpid()}.{os.urandom(4).hex()}")
        handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(os.urandom(LEAST_SECRET).hex().encode() + b"\n")
                opened.flush()
                os.fsync(opened.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(fresh, file)
        finally:
            fresh.unlink()
    key = file.read_bytes().strip()
    if len(key) < LEAST_SECRET:
        raise ValueError(f"{file} holds fewer than {LEAST_SECRET} bytes; remove it, and a new one is made")
    return key
