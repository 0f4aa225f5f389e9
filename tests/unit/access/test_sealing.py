"""What is sealed opens for who has the key, in its own place, and for nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.access.sealing import KEY_FILE, Seal, Unsealable, key_of_file

KEY = bytes(range(32))


def test_what_was_sealed_opens_again_and_never_looks_the_same() -> None:
    """A fresh nonce each time."""
    seal = Seal(KEY)
    boxes = {seal.close(b"clear", b"row 1") for _ in range(3)}
    assert (len(boxes), {seal.open(box, b"row 1") for box in boxes}) == (3, {b"clear"})


@pytest.mark.parametrize("change", ["key", "place", "bit", "short", "empty"])
def test_another_key_place_or_bit_opens_nothing(change: str) -> None:
    """What was moved to another row is worth nothing there."""
    box = Seal(KEY).close(b"clear", b"row 1")
    seal = Seal(KEY[::-1]) if change == "key" else Seal(KEY)
    broken = {"bit": box[:-1] + bytes([box[-1] ^ 1]), "short": box[:9], "empty": b""}.get(change, box)
    with pytest.raises(Unsealable):
        seal.open(broken, b"row 2" if change == "place" else b"row 1")


def test_a_code_is_of_one_purpose_and_one_thing() -> None:
    """And the same in every process that has the key."""
    seal = Seal(KEY)
    assert seal.code("csrf", "a") == Seal(KEY).code("csrf", "a")
    assert len({seal.code("csrf", "a"), seal.code("login", "a"), seal.code("csrf", "b")}) == 3


def test_the_keys_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    """Whoever starts second reads the same; nothing is left beside it."""
    file = tmp_path / KEY_FILE
    first, second = key_of_file(file), key_of_file(file)
    assert (first == second, len(first), file.stat().st_mode & 0o777) == (True, 64, 0o600)
    assert [each.name for each in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """An empty file would be a key that everybody knows."""
    (tmp_path / KEY_FILE).write_text("short\n")
    with pytest.raises(ValueError, match="fewer than 32 bytes; remove it"):
        key_of_file(tmp_path / KEY_FILE)
