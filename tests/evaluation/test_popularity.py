import torch

from src.data.dataset import ExampleBatch
from src.evaluation.popularity import Popularity
from tests.worlds import dataset_of


def test_everyone_gets_the_smoothed_shares_of_the_training_part():
    dataset = dataset_of([[1, 2, 1, 3, 4], [2, 1, 5, 5]], ["a", "b", "c", "d", "e"])
    batch = ExampleBatch(torch.arange(2), torch.tensor([[3], [5]]), torch.tensor([4, 5]))
    scores = Popularity(dataset.train_item_counts()).score(batch)
    torch.testing.assert_close(scores.softmax(1), torch.tensor([[4 / 10, 3 / 10, 1 / 10, 1 / 10, 1 / 10]] * 2).double())
    assert scores.dtype == torch.float64  # float32 would make large counts tie
