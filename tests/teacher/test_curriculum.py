import pytest
import torch

from src.teacher.curriculum import shows_vectors, text_only_probability


def test_titles_alone_come_less_and_less_often():
    assert [text_only_probability(step, 4) for step in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (50, 0.5), (90, 0.9), (100, 1.0)])
def test_vectors_are_shown_as_often_as_the_step_says(step, expected):
    draw = torch.Generator().manual_seed(0)
    shown = sum(shows_vectors(step, 100, draw) for _ in range(2000)) / 2000
    assert shown == pytest.approx(expected, abs=0.03)
