import pytest

from src.core.errors import UserError
from src.core.settings_reading import changed, read_settings
from src.student.settings import (
    LOSS_SETTINGS,
    OptimisationSettings,
    StudentSettings,
    settings_of_loss,
    settings_of_student,
)
from src.training.schedule import warmup_cosine
from tests.student.students import shipped


@pytest.mark.parametrize(
    ("option", "change", "words"),
    [
        ("sasrec", {"model.num_heads": 3}, "model.num_heads=3 must divide model.hidden_size=128"),
        (
            "sasrec_paper",
            {"model.hidden_size": 63, "model.num_heads": 2},
            "num_heads=2 must divide model.hidden_size=63",
        ),
        ("sasrec", {"model.num_heads": 0}, "model.num_heads=0 must be a whole number above 0"),
        ("caser", {"model.history_length": 3}, r"filter_heights=\[2, 3, 4\] must not exceed model.history_length=3"),
        (
            "caser_paper",
            {"model.filter_heights": [11]},
            r"=\[11\] must not exceed model.history_length=10",
        ),
        ("caser", {"model.filter_heights": []}, r"model.filter_heights=\[\] must be a list of whole numbers above 0"),
        ("gru4rec", {"model.num_blocks": 2}, "model.num_blocks is not known"),
        ("gru4rec", {"train.lr": 0.0}, "train.lr=0.0 must be a number above 0"),
        ("gru4rec", {"train.lr_schedule": "linear"}, "train.lr_schedule=linear must be constant or cosine"),
        ("sasrec", {"train.sparse_items": True}, "train.sparse_items=true needs a sampled loss"),
        ("sasrec", {"train.overlap": 50}, "overlap=50 is of windows: it must be below model.history_length=50"),
        ("sasrec", {"train.overlap": 5, "train.targets": "last"}, "needs train.targets=all"),
        ("sasrec", {"train.batch_positions": 5}, "batch_positions is not known any more: use batch_targets"),
        ("sasrec", {"name": "bert"}, "student.name=bert is not known"),
        ("sasrec", {"loss.name": "hinge"}, "student.loss.name=hinge is not known"),
        ("sasrec", {"loss.num_negatives": 2}, "loss.num_negatives is not known"),
    ],
)
def test_a_wrong_setting_is_named(option, change, words):
    with pytest.raises(UserError, match=words):
        changed(shipped(option), change)


def test_decay_that_is_added_to_gradients_does_not_go_with_sparse_items():
    sparse = changed(shipped("sasrec", "bce"), {"train.sparse_items": True})
    with pytest.raises(UserError, match=r"train\.decay=coupled would never reach the others"):
        changed(sparse, {"train.decay": "coupled"})


@pytest.mark.parametrize("loss", [name for name in LOSS_SETTINGS if name != "cross_entropy"])
def test_sparse_items_go_with_sampled_losses(loss):
    assert changed(shipped("sasrec", loss), {"train.sparse_items": True}).train.sparse_items


def test_the_name_decides_which_settings_there_are():
    tree = shipped("caser").plain()
    assert type(read_settings(StudentSettings, tree).model) is settings_of_student("caser")
    assert type(shipped("caser", "gbce").loss) is settings_of_loss("gbce")


def test_the_learning_rate_follows_the_schedule():
    cosine = OptimisationSettings(lr=0.02, lr_schedule="cosine", warmup_share=0.25, max_epochs=1)
    assert [cosine.lr_factor(step, steps=8) for step in range(8)] == [warmup_cosine(step, 2, 8) for step in range(8)]


def test_a_constant_schedule_keeps_the_full_rate_after_warm_up():
    how = OptimisationSettings(lr=0.02, lr_schedule="constant", warmup_share=0.5, max_epochs=1)
    assert [how.lr_factor(step, steps=4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
