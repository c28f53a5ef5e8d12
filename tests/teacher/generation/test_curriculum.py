import pytest
import torch

from src.teacher.generation.curriculum import shows_vectors, text_only_probability


def test_titles_alone_come_less_and_less_often():
    assert [text_only_probability(step / 4) for step in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


@pytest.mark.parametrize("done", [0.0, 0.5, 0.9, 1.0])
def test_vectors_are_shown_as_often_as_what_is_done_says(done):
    draw = torch.Generator().manual_seed(0)
    shown = sum(shows_vectors(done, draw) for _ in range(2000)) / 2000
    assert shown == pytest.approx(done, abs=0.03)
