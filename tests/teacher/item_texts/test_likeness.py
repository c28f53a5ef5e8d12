import pytest
import torch
import torch.nn.functional as F

from src.core.errors import UserError
from src.core.seed import generator
from src.teacher.item_texts.likeness import NEWEST, TEMPERATURE, TextLikeness
from src.teacher.item_texts.whitening import whitened

TEXTS = torch.randn(9, 4, generator=generator(3)) * torch.tensor([5.0, 2.0, 1.0, 0.5]) + 3
HISTORIES = torch.tensor([[4, 2, 7, 0], [9, 0, 0, 0], [1, 1, 3, 5]])


def by_hand(history: list[int], decay: float, whitening: float) -> torch.Tensor:
    vectors = F.normalize(whitened(TEXTS, whitening), dim=1)
    newest_first = [item for item in history if item][::-1]
    weights = [decay**place for place in range(len(newest_first))]
    read = sum(weight * vectors[item - 1] for weight, item in zip(weights, newest_first, strict=True)) / sum(weights)
    return vectors @ read / TEMPERATURE


@pytest.mark.parametrize("decay", [1.0, 0.35])
@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_scores_are_cosines_to_what_was_taken_last(decay, whitening):
    scores = TextLikeness(TEXTS, decay, whitening).eval().predict(HISTORIES)
    for row, history in enumerate(HISTORIES.tolist()):
        torch.testing.assert_close(scores[row], by_hand(history, decay, whitening))


def test_the_newest_item_alone_is_most_like_itself():
    scores = TextLikeness(TEXTS, 0.5, 0.5).predict(torch.tensor([[6], [2]]))
    assert scores.argmax(1).tolist() == [5, 1]
    assert scores.max(1).values.tolist() == pytest.approx([1 / TEMPERATURE] * 2)


def test_whitening_leaves_cosines_or_makes_all_axes_alike():
    left = F.normalize(whitened(TEXTS, 0.0), dim=1)
    centred = F.normalize(TEXTS - TEXTS.mean(0), dim=1)
    torch.testing.assert_close(left @ left.T, centred @ centred.T)
    full = whitened(TEXTS, 1.0)
    covariance = full.T @ full / len(full)
    torch.testing.assert_close(covariance / covariance[0, 0], torch.eye(4), atol=1e-5, rtol=0)
    half = whitened(TEXTS, 0.5).var(0)
    assert float(half.max() / half.min()) == pytest.approx(
        float(whitened(TEXTS, 0.0).var(0).max() / whitened(TEXTS, 0.0).var(0).min()) ** 0.5, rel=1e-4
    )


def test_directions_in_which_no_text_differs_say_nothing():
    wide = torch.cat([TEXTS, torch.ones(9, 3), TEXTS[:, :1]], dim=1)
    found = whitened(wide, 1.0)
    assert int((found.var(0) > 1e-6).sum()) == 4 and torch.isfinite(found).all()


def test_texts_that_are_all_the_same_are_refused():
    with pytest.raises(UserError, match="All items have the same encoding"):
        TextLikeness(torch.ones(9, 4), 0.5, 0.5)


def test_no_more_is_looked_at_than_it_says():
    model = TextLikeness(TEXTS, 1.0, 0.0)
    assert model.history_length == NEWEST and not model.causal
    assert model.user_representation(HISTORIES).shape == (3, 4)


@pytest.mark.parametrize("whitening", [0.0, 0.5])
def test_shuffled_it_ranks_by_texts_of_other_items(whitening):
    encodings = torch.randn(12, 5, generator=generator(3)).double()
    order = torch.randperm(12, generator=generator(4))
    shuffled = TextLikeness(encodings, 0.5, whitening)
    shuffled.shuffle(generator(4))
    history = torch.tensor([[3, 7, 1], [12, 0, 0]])
    expected = TextLikeness(encodings[order], 0.5, whitening).predict(history)
    torch.testing.assert_close(shuffled.predict(history), expected, rtol=1e-4, atol=1e-4)
    assert shuffled.items.ids.weight[0].eq(0).all()
