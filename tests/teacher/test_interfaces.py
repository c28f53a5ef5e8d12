import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset as Rows

from src.data.dataset import Dataset, ExampleBatch, Examples
from src.teacher.interfaces import AS_RANKED, Presentation, Reading, Scored, TeacherModel, best_items

SCORES = torch.tensor([[2.0, 0.0, 3.0, 1.0, -1.0], [0.0, 5.0, 1.0, 2.0, 3.0]])
BATCH = ExampleBatch(torch.arange(2), torch.tensor([[3, 0], [1, 2]]), torch.tensor([1, 4]))


class Known(TeacherModel):
    def training_rows(self, dataset: Dataset, most: int, generator: torch.Generator) -> tuple[Rows, Tensor]:
        raise NotImplementedError

    def validation_rows(self, dataset: Dataset, examples: Examples, with_seen: bool) -> Rows:
        raise NotImplementedError

    def prompt_lengths(self, history: Tensor) -> Tensor:
        raise NotImplementedError

    def training_loss(self, batch: ExampleBatch, shown: Presentation = AS_RANKED) -> Tensor:
        return SCORES.sum()

    def loss_weight(self, batch: ExampleBatch) -> Tensor:
        raise NotImplementedError

    def score(self, batch: ExampleBatch) -> Tensor:
        return SCORES

    def item_embeddings(self) -> Tensor:
        return SCORES.T

    def text_embeddings(self) -> Tensor:
        return SCORES.T

    def tokens_by_example(self, dataset: Dataset) -> Tensor:
        raise NotImplementedError

    def readings(self, dataset: Dataset, examples: Examples) -> list[Reading]:
        return [Reading(torch.arange(2), lambda: Scored(torch.arange(2), SCORES, 0))]


def test_ranks_are_item_numbers_best_first():
    items, _ = Known().rank(BATCH, 3)
    assert items.tolist() == [[3, 1, 4], [2, 5, 4]]


def test_its_scores_are_log_probabilities_over_the_whole_catalogue():
    items, scores = Known().rank(BATCH, 5)
    assert items.sort(1).values.tolist() == [[1, 2, 3, 4, 5]] * 2
    for row in range(2):
        total = sum(score.exp() for score in SCORES[row])
        expected = [(SCORES[row, item - 1].exp() / total).log() for item in items[row]]
        torch.testing.assert_close(scores[row], torch.stack(expected))


def test_seen_items_do_not_appear_and_keep_their_probability():
    items, scores = Known().rank(BATCH, 3, excluded=BATCH.history)
    assert items.tolist() == [[1, 4, 2], [5, 4, 3]]
    whole = SCORES.log_softmax(1)
    torch.testing.assert_close(scores, torch.stack([whole[0, [0, 3, 1]], whole[1, [4, 3, 2]]]))
    assert (scores.exp().sum(1) < 0.5).all()


def test_a_teacher_lacking_a_method_cannot_be_built():
    class Mute(TeacherModel):
        def score(self, batch: ExampleBatch) -> Tensor:
            return SCORES

    with pytest.raises(TypeError, match="abstract"):
        Mute()


def test_a_temperature_changes_no_list():
    """At the highest one log-probabilities of neighbours are the same number; the lists are made from the scores."""
    scores = 2 * torch.randn(8, 3_000, generator=torch.Generator().manual_seed(0))
    excluded = scores.topk(2).indices + 1
    expected, _ = best_items(scores, 100, excluded)
    for temperature in (1 / 4096, 0.3, 64.0, 4096.0):
        items, log_p = best_items(scores / temperature, 100, excluded)
        assert torch.equal(items, expected)
        assert torch.equal(log_p, (scores / temperature).log_softmax(1).gather(1, items - 1))
    assert (log_p.diff(dim=1) == 0).any()


def test_what_is_left_out_has_no_probability():
    items, log_p = best_items(SCORES, 5, torch.tensor([[3, 0], [4, 1]]))
    assert (items[0, 4], log_p[0, 4]) == (3, -torch.inf)
    assert log_p[0, :4].isfinite().all() and log_p[1].isfinite().tolist() == [True, True, True, False, False]
