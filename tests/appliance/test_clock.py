"""A clock that nobody sets."""

from attrs import define

from appliance.clock import SteadyClock


@define
class Clocks:
    wall_us: int = 1_000_000_000
    monotonic_s: float = 7.25

    def now(self) -> int:
        return self.wall_us

    def monotonic(self) -> float:
        return self.monotonic_s


def test_steady_clock_says_the_time_of_the_wall_clock_until_that_is_set() -> None:
    clocks = Clocks()
    steady = SteadyClock(clocks.now, clocks.monotonic)
    assert (steady(), steady.step_us()) == (1_000_000_000, 0)
    clocks.wall_us += 1_500_000
    clocks.monotonic_s += 1.5
    assert (steady(), steady.step_us()) == (1_001_500_000, 0)
    clocks.wall_us -= 86_400_000_000
    assert (steady(), steady.step_us()) == (1_001_500_000, -86_400_000_000)
    clocks.monotonic_s += 0.5
    assert steady() == 1_002_000_000
