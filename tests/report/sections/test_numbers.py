import pytest

from src.report.intervals import Estimate
from src.report.sections.numbers import duration, relative, share, signed, with_interval


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3725, "1 h 2 min")]
)
def test_durations(seconds, told):
    assert duration(seconds) == told


def test_figures_in_words():
    assert (signed(-0.00123), signed(0.5)) == ("−0.0012", "+0.5000")
    assert (share(0.1234), relative(-0.05), relative(None)) == ("12.3 %", "−5.0 %", "")
    assert with_interval(Estimate(0.1, -0.2, 0.3)) == "+0.1000 [−0.2000, +0.3000]"
    assert (with_interval(Estimate(0.1, None, None)), with_interval(None)) == ("+0.1000", "")
