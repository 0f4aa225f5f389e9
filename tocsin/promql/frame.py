"""Label sets by the thousand: one column of numbers per label name.

A `Dictionary` numbers the label values; a `Frame` holds, for n series, one int32 column per label name (0: not set).
Frames that a selection or an operator derives keep a reference to their parent and the rows taken, and are worked out
only when somebody looks. Grouping and joining go by a 64-bit mix of the columns asked for, remembered on the frame, so
that a rule that runs every few seconds over the same series pays for it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tocsin.model import METRIC_NAME, Labels

Codes = NDArray[np.int32]
Rows = NDArray[np.intp]
Keys = NDArray[np.uint64]


class Dictionary:
    """Label values, numbered in the order of their coming. 0 is the empty value: not set.

    Several threads may number values at once: a query beside the rules.
    """

    __slots__ = ("_codes", "_numbering", "values")

    def __init__(self) -> None:
        self.values: list[str] = [""]
        self._codes: dict[str, int] = {"": 0}
        self._numbering = Lock()

    def code(self, value: str) -> int:
        """The number of `value`, given now if it is new."""
        code = self._codes.get(value)
        if code is None:
            with self._numbering:
                code = self._codes.get(value)
                if code is None:
                    # The value first: whoever sees the number may look it up.
                    self.values.append(value)
                    code = self._codes[value] = len(self.values) - 1
        return code

    def __contains__(self, value: str) -> bool:
        return value in self._codes

    def codes(self, values: Sequence[str]) -> Codes:
        """The numbers of `values`."""
        return np.fromiter((self.code(value) for value in values), np.int32, len(values))


_MULTIPLIERS: dict[str, np.uint64] = {}
_MULTIPLIERS_KEPT: Final = 65_536
_SPELLED: Final = 32
"""Series of a frame whose label sets are remembered: graphs of few series are asked again and again."""
_FEW: Final = 64
"""Codes of which a set is made sooner than a sorted array."""
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_STIR: Final = np.uint64(0xBF58476D1CE4E5B9)
_STIR2: Final = np.uint64(0x94D049BB133111EB)


def _multiplier(name: str) -> np.uint64:
    known = _MULTIPLIERS.get(name)
    if known is None:
        if len(_MULTIPLIERS) >= _MULTIPLIERS_KEPT:
            _MULTIPLIERS.clear()
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        known = _MULTIPLIERS[name] = np.uint64(int.from_bytes(digest, "little") | 1)
    return known


def _mixed(codes: Codes, name: str) -> Keys:
    """Codes spread over 64 bits (splitmix64), seeded by the label's name; not set stays 0."""
    mixed = codes.astype(np.uint64) * (_SPREAD ^ _multiplier(name) & ~np.uint64(1))
    mixed ^= mixed >> np.uint64(30)
    mixed *= _STIR
    mixed ^= mixed >> np.uint64(27)
    mixed *= _STIR2
    mixed ^= mixed >> np.uint64(31)
    return mixed * _multiplier(name)


class Frame:
    """The label sets of n series."""

    __slots__ = ("_cache", "_columns", "_parent", "_rows", "dictionary", "names", "size")

    def __init__(self, dictionary: Dictionary, columns: dict[str, Codes], size: int) -> None:
        self.dictionary = dictionary
        self.names = tuple(sorted(columns))
        self.size = size
        self._columns = columns
        self._parent: Frame | None = None
        self._rows: Rows | None = None
        self._cache: dict[object, object] = {}

    @classmethod
    def empty(cls, dictionary: Dictionary) -> Frame:
        return cls(dictionary, {}, 0)

    @classmethod
    def single(cls, dictionary: Dictionary, labels: dict[str, str] | None = None) -> Frame:
        """One series of these labels."""
        columns = {name: dictionary.codes([value]) for name, value in (labels or {}).items() if value}
        return cls(dictionary, columns, 1)

    @classmethod
    def joined(cls, frames: Sequence[Frame]) -> Frame:
        """The series of all `frames`, in their order."""
        if len(frames) == 1:
            return frames[0]
        names = {name for frame in frames for name in frame.names}
        columns = {name: np.concatenate([frame.column(name) for frame in frames]) for name in names}
        return cls(frames[0].dictionary, columns, sum(frame.size for frame in frames))

    def _derived(self, names: tuple[str, ...], parent: Frame, rows: Rows, size: int) -> Frame:
        frame = Frame.__new__(Frame)
        frame.dictionary, frame.names, frame.size = self.dictionary, names, size
        frame._columns, frame._parent, frame._rows, frame._cache = {}, parent, rows, {}
        return frame

    def column(self, name: str) -> Codes:
        """The codes of one label; zeros where no series has it."""
        column = self._columns.get(name)
        if column is None:
            if self._parent is not None and name in self.names:
                column = self._columns[name] = self._parent.column(name)[self._rows]
            else:
                column = np.zeros(self.size, np.int32)
        return column

    def take(self, rows: Rows) -> Frame:
        """The series at `rows`."""
        if self._parent is not None:
            assert self._rows is not None
            return self._derived(self.names, self._parent, self._rows[rows], len(rows))
        return self._derived(self.names, self, rows, len(rows))

    def without(self, *drop: str) -> Frame:
        """These series less some labels."""
        if not any(name in self.names for name in drop):
            return self
        cached = self._cache.get(("without", drop))
        if isinstance(cached, Frame):
            return cached
        if self._parent is not None:
            assert self._rows is not None
            frame = self._parent.without(*drop).take(self._rows)
        else:
            frame = Frame(self.dictionary, {n: c for n, c in self._columns.items() if n not in drop}, self.size)
        self._cache["without", drop] = frame
        return frame

    def only(self, *keep: str) -> Frame:
        """These series with only some labels."""
        return self.without(*(name for name in self.names if name not in keep))

    def with_column(self, name: str, codes: Codes) -> Frame:
        """These series with one label replaced (0 removes)."""
        columns = {each: self.column(each) for each in self.names}
        columns[name] = codes
        return Frame(self.dictionary, columns, self.size)

    def keys(self, names: Sequence[str] | None = None) -> Keys:
        """A 64-bit key per series of the labels `names` (all, if None): equal label sets, equal keys."""
        wanted = self.names if names is None else tuple(names)
        cached = self._cache.get(("keys", wanted))
        if cached is not None:
            return cached  # type: ignore[return-value]
        if self._parent is not None:
            keys = self._parent.keys(wanted)[self._rows]
        else:
            keys = np.zeros(self.size, np.uint64)
            for name in wanted:
                if name in self._columns:
                    keys += _mixed(self._columns[name], name)
        self._cache["keys", wanted] = keys
        return keys

    def groups(self, labels: tuple[str, ...], without: bool) -> tuple[Rows, Frame]:
        """For each series the number of its group, and the groups' own labels.

        Groups are numbered in the order in which their first series comes.
        """
        cached = self._cache.get(("groups", labels, without))
        if cached is not None:
            return cached  # type: ignore[return-value]
        if without:
            names = tuple(name for name in self.names if name not in labels and name != METRIC_NAME)
        else:
            names = tuple(name for name in labels if name in self.names)
        if self._parent is not None:
            assert self._rows is not None
            whole, frame = self._parent.groups(labels, without)
            result = _renumbered(whole[self._rows], frame)
        else:
            _, first, inverse = np.unique(self.keys(names), return_index=True, return_inverse=True)
            order = np.argsort(first, kind="stable")
            rank = np.empty_like(order)
            rank[order] = np.arange(len(order))
            frame = Frame(self.dictionary, {n: self.column(n)[first[order]] for n in names}, len(first))
            result = (rank[inverse], frame)
        self._cache["groups", labels, without] = result
        return result

    @property
    def distinct(self) -> bool:
        """True when no two series have the same labels."""
        if self.size < 2:
            return True
        known = self._cache.get("distinct")
        if known is None:
            if self._parent is not None and "distinct" in self._parent._cache and self._parent.distinct:
                known = self._rows is not None and len(np.unique(self._rows)) == self.size
            else:
                known = len(np.unique(self.keys())) == self.size
            self._cache["distinct"] = known
        return bool(known)

    def value(self, row: int, name: str) -> str:
        """The value of one label of one series."""
        return self.dictionary.values[int(self.column(name)[row])]

    def labels(self) -> list[Labels]:
        """Every label set, spelled out."""
        known = self._cache.get("labels")
        if known is not None:
            return list(known)  # type: ignore[call-overload,no-any-return]
        values = self.dictionary.values
        columns = [(name, self.column(name).tolist()) for name in self.names]
        spelled = [Labels({name: values[column[row]] for name, column in columns}) for row in range(self.size)]
        if self.size <= _SPELLED:
            self._cache["labels"] = spelled
        return list(spelled)


def distinct(codes: Codes) -> list[int]:
    """Each code once, in rising order."""
    return sorted(set(codes.tolist())) if len(codes) <= _FEW else [int(code) for code in np.unique(codes)]


def label_order(frame: Frame) -> list[int]:
    """The rows in the order of their labels, as Prometheus sorts label sets: name, value, name, value …"""
    if frame.size < 2:
        return list(range(frame.size))
    known = frame._cache.get("order")
    if known is None:
        known = _ordered(frame)
        if frame.size <= _SPELLED:
            frame._cache["order"] = known
    return list(known)  # type: ignore[call-overload,no-any-return]


def _ordered(frame: Frame) -> list[int]:
    values = frame.dictionary.values
    columns = [(name, frame.column(name)) for name in frame.names]
    columns = [(name, column) for name, column in columns if column.any()]
    if frame.size > 32 and columns and all(column.all() for _, column in columns):
        # All have the same names: compare the places of the values.
        keys = []
        for _, column in reversed(columns):
            codes, inverse = np.unique(column, return_inverse=True)
            order = sorted(range(len(codes)), key=[values[code] for code in codes.tolist()].__getitem__)
            places = np.empty(len(codes), np.intp)
            places[order] = np.arange(len(codes))
            keys.append(places[inverse])
        return [int(row) for row in np.lexsort(keys)]
    listed = [(name, column.tolist()) for name, column in columns]
    pairs = [[(name, values[column[row]]) for name, column in listed if column[row]] for row in range(frame.size)]
    return sorted(range(frame.size), key=pairs.__getitem__)


def _renumbered(groups: Rows, frame: Frame) -> tuple[Rows, Frame]:
    """Leaves out the groups that lost all their series."""
    present = np.zeros(frame.size, bool)
    present[groups] = True
    if present.all():
        return groups, frame
    numbers = np.cumsum(present) - 1
    return numbers[groups], frame.take(np.flatnonzero(present))
