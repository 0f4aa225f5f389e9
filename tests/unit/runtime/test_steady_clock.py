"""The daemon's time never goes back."""

from tocsin.model import utc
from tocsin.runtime.clock import SteadyClock


class Machine:
    """Two clocks that a test sets."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.counted = 50.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.counted += seconds

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.counted)


def test_it_tells_the_wall_clocks_time() -> None:
    """While nothing odd happens it is the time of day."""
    machine = Machine()
    clock = machine.clock()
    machine.passes(10)
    assert clock.now().timestamp() == 1_000_010.0


def test_a_wall_clock_set_back_does_not_take_it_along() -> None:
    """Ten seconds after the jump it is ten seconds later, and the skew says how far ahead we are."""
    machine = Machine()
    clock = machine.clock()
    machine.wall -= 3600
    machine.passes(10)
    assert (clock.now().timestamp(), clock.skew()) == (1_000_010.0, 3600.0)


def test_it_follows_the_wall_clock_forward() -> None:
    """A laptop that slept for an hour knows what time it is."""
    machine = Machine()
    clock = machine.clock()
    machine.wall += 3600
    assert (clock.now().timestamp(), clock.skew()) == (1_003_600.0, 0.0)


def test_once_the_wall_clock_has_caught_up_they_agree_again() -> None:
    """A jump back that was mended leaves no trace."""
    machine = Machine()
    clock = machine.clock()
    machine.wall -= 60
    clock.now()
    machine.wall += 60
    machine.passes(1)
    assert (clock.now().timestamp(), clock.skew()) == (1_000_001.0, 0.0)


def test_a_restart_goes_on_from_what_was_stored_before() -> None:
    """The wall clock was set back while the daemon was down: its newest sample is not in the future."""
    machine = Machine()
    clock = machine.clock()
    clock.not_before(utc(1_000_060.0))
    machine.passes(1)
    assert (clock.now().timestamp(), clock.skew()) == (1_000_061.0, 60.0)
