import pytest

from src.core.artefact import read_manifest
from src.exp.stages.teacher.teacher import batches_of


@pytest.mark.parametrize(
    ("steps", "batches"), [(0, 0), (1, 4), (2, 8), (3, 10), (4, 14), (6, 20), (7, 24)]
)  # ten batches an epoch, of which the last step of each has two
def test_the_last_step_of_an_epoch_has_the_batches_that_are_left(steps, batches):
    assert batches_of(steps, in_epoch=10, accumulate=4) == batches


@pytest.mark.slow
def test_an_epoch_reads_each_training_row_once_however_many_batches_a_step_has(made):
    road = made()
    once = read_manifest(road.teacher.folder)["result"]["tokens_read"]
    road = made("teacher.train.accumulate=50")
    assert road.go(road.prepared, road.user_encoder, road.teacher)
    assert read_manifest(road.teacher.folder)["result"]["tokens_read"] == once
