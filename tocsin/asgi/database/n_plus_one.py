"""In tests: which request asks the same statement again and again?

    with queries() as asked:
        await client.get("/campaigns")
    asked.assert_no_n_plus_one()

A list of twenty that asks once for itself and once for each of its twenty is slow where nobody looks: with real data,
over a real network. Counted are the statements of every `Database` in this process while the block runs, by request
(by task, where no request log of ours is around the application), equal ones by their shape.

As a fixture, for every test that takes it:

    @pytest.fixture
    def asked() -> Iterator[Queries]:
        with queries() as asked:
            yield asked
        asked.assert_no_n_plus_one()
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tocsin.asgi.database.shape import shape_of
from tocsin.asgi.database.watch import RECORDERS, Statement

MOST: Final = 2
"""Equal statements of one request that are nobody's loop."""


class NPlusOne(AssertionError):
    """A request asked the same thing again and again; the message says which, what, how often and where."""


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Equal statements of one request."""

    route: str
    statement: str
    count: int
    places: tuple[tuple[str, int], ...]
    """Where they are, and how often: the place itself, and what called it."""

    def __str__(self) -> str:
        where = "\n".join(f"  {count} × at {place}" for place, count in self.places)
        return f"{self.count} times in one request ({self.route}):\n  {self.statement}\n{where}"


class Queries:
    """The statements that were recorded."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self._by_request: dict[object, list[Statement]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self.statements)

    def repeated(self, *, most: int = MOST, allow: Iterable[str] = ()) -> list[Repeated]:
        """What one request asked more than `most` times, the most frequent first. `allow`: statements that may be."""
        allowed = {shape_of(one) for one in allow}
        found = []
        for statements in self._by_request.values():
            for shape, count in Counter(one.shape for one in statements).items():
                if count > most and shape not in allowed:
                    equal = [one for one in statements if one.shape == shape]
                    places = Counter(", by ".join(one.places) or "(no file of the application)" for one in equal)
                    found.append(
                        Repeated(
                            route=equal[0].route, statement=shape, count=count, places=tuple(places.most_common(3))
                        )
                    )
        return sorted(found, key=lambda one: -one.count)

    def assert_no_n_plus_one(self, *, most: int = MOST, allow: Iterable[str] = ()) -> None:
        """Raises NPlusOne where a request asked an equal statement more than `most` times."""
        found = self.repeated(most=most, allow=allow)
        if found:
            told = "\n".join(str(one) for one in found)
            raise NPlusOne(f"{told}\nask once: a join, or `where id = any(%s)`; if it is meant, say allow=[statement]")

    def note(self, statement: Statement) -> None:
        """One more."""
        self.statements.append(statement)
        self._by_request[statement.call or _task()].append(statement)


@contextmanager
def queries() -> Iterator[Queries]:
    """Record while the block runs."""
    found = Queries()
    RECORDERS.append(found.note)
    try:
        yield found
    finally:
        RECORDERS.remove(found.note)


def _task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
