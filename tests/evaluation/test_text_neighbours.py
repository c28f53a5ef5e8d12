import torch

from src.data.dataset import ExampleBatch
from src.evaluation.text_neighbours import TextNeighbours

ENCODINGS = torch.tensor([[3.0, 0.0], [0.0, 2.0], [5.0, 0.5], [-1.0, 0.0]])


def scores(newest: int, history: list[int]) -> torch.Tensor:
    batch = ExampleBatch(torch.arange(1), torch.tensor([history]), torch.tensor([1]))
    return TextNeighbours(ENCODINGS, newest).score(batch)[0]


def cosines(vector: list[float]) -> torch.Tensor:
    return torch.cosine_similarity(torch.tensor([vector]), ENCODINGS)


def test_an_item_scores_by_how_like_its_text_is_to_that_of_the_newest_item():
    torch.testing.assert_close(scores(1, [2, 1, 0, 0]), cosines([1.0, 0.0]))
    torch.testing.assert_close(scores(1, [1, 2, 0, 0]), cosines([0.0, 1.0]))


def test_of_several_items_the_mean_direction_counts_and_padding_does_not():
    torch.testing.assert_close(
        scores(2, [4, 1, 2, 0]), cosines([1.0, 1.0])
    )  # as long as each other, whatever they were
    torch.testing.assert_close(scores(3, [2, 0, 0, 0]), cosines([0.0, 1.0]))
