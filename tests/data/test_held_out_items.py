import pytest
import torch

from src.core.errors import UserError
from src.core.seed import generator
from src.data.dataset import Dataset
from src.data.held_out_items import draw_items, hold_out
from tests.worlds import dataset_of, tiny_dataset


def examples_by_id(dataset: Dataset, split: str) -> list[tuple[int, list[str], str]]:
    """User, raw ids of the whole history, that of the target."""
    raw_id, found = dataset.catalogue.raw_id, []
    examples = dataset.examples[split]
    for user, end in zip(examples.user.tolist(), examples.end.tolist(), strict=True):
        log = dataset.item_log[dataset.offsets[user] : dataset.offsets[user + 1]].tolist()
        found.append((user, [raw_id(item) for item in log[:end]], raw_id(log[end])))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_every_example_is_what_is_left_of_the_same_one(seed):
    dataset = tiny_dataset(seed=seed)
    items = draw_items(dataset, 0.2, generator(seed))
    held = hold_out(dataset, items)
    out = {dataset.catalogue.raw_id(int(item)) for item in items}
    train_ends = dict(enumerate(dataset.num_train.tolist()))
    for split in ("train", "val", "test"):
        known, whole = [], []
        for row, (user, history, target) in enumerate(examples_by_id(dataset, split)):
            of_train = [place < train_ends[user] for place in range(len(history))]
            without = [item for item in history if item not in out]
            later = [item for item, early in zip(history, of_train, strict=True) if item not in out or not early]
            if target not in out and without:
                known.append((user, without, target))
            is_train = int(dataset.examples[split].end[row]) < train_ends[user]
            if later and not (target in out and is_train):
                whole.append((user, later, target))
        assert examples_by_id(held.known, split) == known
        assert examples_by_id(held.whole, split) == whole
    assert {held.whole.catalogue.raw_id(n) for n in range(held.num_known + 1, held.whole.num_items + 1)} == out
    assert [dataset.catalogue.raw_id(int(old)) for old in held.old_number[1:]] == held.whole.catalogue.raw_ids
    assert held.known.catalogue.raw_ids == held.whole.catalogue.raw_ids[: held.num_known]
    for view in (held.known, held.whole):
        assert int(view.item_log[view.in_training_part].max()) <= held.num_known
        assert view.offsets[-1] == len(view.item_log) and (view.num_train <= view.offsets.diff()).all()
        ids = torch.cat([view.examples[split].example_id for split in ("train", "val", "test")])
        assert ids.tolist() == list(range(len(ids)))
        assert view.fingerprint != dataset.fingerprint


def test_what_is_trained_on_never_names_an_item_held_out():
    dataset = tiny_dataset()
    held = hold_out(dataset, draw_items(dataset, 0.3, generator(1)))
    assert int(held.known.item_log.max()) <= held.num_known == held.known.catalogue.num_items
    assert len(held.known.train_item_counts()) == held.num_known + 1
    other = hold_out(dataset, draw_items(dataset, 0.3, generator(2)))
    assert held.known.fingerprint != other.known.fingerprint  # a checkpoint of one is none of the other


def test_only_items_with_a_text_are_drawn():
    dataset = dataset_of([[1, 2, 3, 4], [2, 3, 4, 1], [4, 3, 2, 1]], titles=list("abcd"))
    dataset.catalogue.texts[1] = dataset.catalogue.texts[3] = ""
    assert set(draw_items(dataset, 0.5, generator(0)).tolist()) <= {1, 3}


@pytest.mark.parametrize("share", [0.01, 0.999])
def test_a_share_that_is_nothing_or_all_is_refused(share):
    dataset = dataset_of([[1, 2, 3, 4], [2, 3, 4, 1]], titles=list("abcd"))
    with pytest.raises(UserError, match=r"^cold_start\.share=.* choose another share\.$"):
        draw_items(dataset, share, generator(0))


def test_a_dataset_of_which_nothing_is_left_is_refused():
    dataset = dataset_of([[1, 2, 3, 4], [1, 2, 3, 4]], titles=list("abcd"))
    with pytest.raises(UserError, match="nothing left to train or validate on"):
        hold_out(dataset, torch.tensor([1, 2]))
