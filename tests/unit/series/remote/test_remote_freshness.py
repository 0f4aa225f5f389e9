"""The sample that a server is asked for before it is believed."""

from __future__ import annotations

import numpy as np

from tocsin.model import STALE, Labels, utc
from tocsin.promql import Dictionary, Frame, Scalar, Vector
from tocsin.series.journal import Batch
from tocsin.series.remote.freshness import Mark, Newest

NAMES = {1: ("up", Labels(job="a")), 2: ("up", Labels(job='b"c')), 3: ("odd", Labels({"dotted.name": "x"}))}


def batch(at: int, serial: int, value: float) -> Batch:
    return Batch(at, np.array([serial], np.intp), np.array([value]))


def test_the_newest_sample_that_can_be_asked_for_is_kept() -> None:
    """Not the end of a series, which no query shows, and none whose labels older servers can't be asked for."""
    newest = Newest(Labels(cluster="eu"))
    assert newest.mark is None
    newest.note(
        [batch(1000, 1, 1.0), batch(2000, 2, 5.0), batch(3000, 1, STALE), batch(3000, 3, 1.0)], NAMES.__getitem__
    )
    expected = Mark(Labels(__name__="up", job='b"c', cluster="eu"), 2000)
    assert newest.mark == expected
    assert expected.question == 'timestamp({__name__="up", cluster="eu", job="b\\"c"})'
    newest.note([batch(500, 1, 1.0)], NAMES.__getitem__)
    assert newest.mark == expected


def test_a_sample_is_shown_when_it_or_a_later_one_is_the_answer() -> None:
    """Nothing, an older one or another type is no proof."""

    def answer(*times: float) -> Vector:
        return Vector(Frame(Dictionary(), {}, len(times)), np.array(times), utc(0))

    mark = Mark(Labels(__name__="up"), 2500)
    shown = [mark.shown(each) for each in (answer(), answer(2.4), answer(2.5), answer(9.0), answer(1.0, 3.0))]
    assert shown == [False, False, True, True, True]
    assert not mark.shown(Scalar(value=9.0, at=utc(0)))
