import pytest

from benchmarks import timing
from benchmarks.timing import StepClock


class Asker:
    """Asks for a fixed number of measurements, and keeps what it is told."""

    def __init__(self, warm_up: int, steps: int, asks: int) -> None:
        self.settings = {"warm_up": warm_up, "steps": steps}
        self.asks, self.told = asks, []

    def tell(self, what: dict) -> None:
        self.told.append(what)

    def wait(self) -> None:
        if self.asks == 0:
            raise SystemExit
        self.asks -= 1


def test_a_clock_times_runs_of_steps_after_the_warm_up_and_ends_the_process(monkeypatch):
    now = iter([10.0, 11.0, 14.0, 20.0, 22.0])  # warm; start, end; start, end
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(now))
    line = Asker(warm_up=2, steps=3, asks=2)
    clock = StepClock(line)

    steps = 0
    with pytest.raises(SystemExit):
        while True:
            steps += 1
            clock.step_done(lambda: {"parameters": 7}, examples=steps)

    assert steps == 2 + 2 * 3
    assert line.told == [
        {"parameters": 7},
        {"seconds": 3.0, "examples": 3 + 4 + 5},
        {"seconds": 2.0, "examples": 6 + 7 + 8},
    ]
