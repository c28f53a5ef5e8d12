from math import cos, pi

import pytest

from src.training.schedule import ilora_cosine, warmup_constant, warmup_cosine
from tests.golden import load_golden


def test_warm_up_then_half_a_cosine():
    factors = [warmup_cosine(step, warmup=4, steps=12) for step in range(14)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:] == [*(0.5 * (1 + cos(pi * done / 8)) for done in range(9)), 0.0]  # and it stays at 0


def test_warm_up_then_the_full_rate():
    assert [warmup_constant(step, warmup=4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert warmup_constant(0, warmup=0) == warmup_cosine(0, warmup=0, steps=5) == 1.0


def test_a_training_of_one_step_has_the_full_rate():
    assert [warmup_cosine(step, warmup=1, steps=1) for step in range(3)] == [1.0, 1.0, 0.0]


def test_the_teachers_rates_equal_the_reference_codes():
    """Three groups as its `configure_optimizers` makes them; the last steps lie at and behind the end."""
    tensors, settings = load_golden("case3_lr_schedule")
    about = settings["interface_three_groups"]
    start, end = about["start"] / about["lr"], about["min"] / about["lr"]
    assert about["warmup"] == about["max_step"] // 20
    for step, rates in enumerate(tensors["interface_three_groups/lr"].tolist()):
        factor = ilora_cosine(step, about["warmup"], about["max_step"], start, end)
        expected = [factor * rate for rate in tensors["interface_three_groups/initial_lr"].tolist()]
        assert rates == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["single_ml", "no_warmup"])
def test_one_rate_equals_the_reference_codes_up_to_its_end(name):
    tensors, settings = load_golden("case3_lr_schedule")
    about = settings[name]
    (init,), (least,) = about["init"], about["min"]
    start = (about["start"] or about["init"])[0] / init
    rates = [init * ilora_cosine(step, about["warmup"], about["max_step"], start, least / init) for step in range(222)]
    theirs = tensors[f"{name}/lr"][: about["max_step"] + 1, 0].tolist()
    assert rates[: len(theirs)] == pytest.approx(theirs, rel=1e-12, abs=1e-18)
    assert set(rates[len(theirs) :]) == {rates[about["max_step"]]}  # the reference's rises again
