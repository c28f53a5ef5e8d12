from math import cos, pi

from src.core.schedule import warmup_constant, warmup_cosine


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
