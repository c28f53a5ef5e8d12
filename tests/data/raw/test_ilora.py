import pytest

from src.core.errors import UserError
from src.data.prepare import prepare_dataset
from src.data.raw.ilora import read_frames, read_names
from tests.data.published import PRESETS
from tests.exp.keys import composed


def lastfm(data_dir):
    PRESETS["lastfm_ilora"].write("lastfm_ilora", data_dir)
    settings = composed("dataset=lastfm_ilora").dataset
    return settings, [data_dir / "lastfm-ilora" / file.name for file in settings.files]


def test_parts_are_those_of_the_frames_and_histories_of_val_and_test_are_in_none(tmp_path):
    settings, paths = lastfm(tmp_path)
    log = read_frames(paths[:3], settings)
    assert [(user, item, part) for user, item, _, part in log.rows()] == [
        ("0", "0", 0), ("0", "1", 0), ("0", "2", 0),
        ("1", "2", -1), ("1", "1", -1), ("1", "0", 1),
        ("2", "1", -1), ("2", "2", 2),
    ]  # fmt: skip


def test_a_limit_counts_windows_of_each_frame(tmp_path):
    settings, paths = lastfm(tmp_path)
    log = read_frames(paths[:3], settings.model_copy(update={"limit_data_rows": 2}))
    assert log.filter(log["part"] == 0)["item"].to_list() == ["0", "1"]


def test_a_name_may_hold_colons(tmp_path):
    _, paths = lastfm(tmp_path)
    assert read_names(paths[3]).row(0) == ("0", "Morning::Band", "Morning::Band")


def test_a_user_of_whom_only_the_history_is_known_gets_no_training_example(tmp_path):
    settings, _ = lastfm(tmp_path / "raw")
    dataset = prepare_dataset(settings, [tmp_path / "raw"], tmp_path / "processed")
    train = dataset.examples["train"]
    assert set(train.user.tolist()) == {0}
    val = dataset.batch(dataset.examples["val"], 5)
    assert [[item - 1 for item in row if item] for row in val.history.tolist()] == [[2, 1]]


def test_history_beside_train_is_refused(tmp_path):
    (tmp_path / "log.csv").write_text(
        "user,item,timestamp,part\n1,a,1,history\n1,b,2,train\n1,c,3,val\n2,a,1,train\n2,b,2,train\n2,c,3,test\n"
    )
    chosen = composed("dataset=custom", f"dataset.interactions={tmp_path / 'log.csv'}", "dataset.split=given").dataset
    with pytest.raises(UserError, match="user 1 has interactions of part history and of train"):
        prepare_dataset(chosen, [tmp_path], tmp_path / "processed")


def test_a_number_that_is_named_twice_is_refused_since_all_items_behind_it_would_get_its_neighbours_name(tmp_path):
    settings, paths = lastfm(tmp_path / "raw")
    paths[3].write_text(paths[3].read_text() + "0::Another\n")
    with pytest.raises(UserError, match="line 5: item 0 is listed a second time"):
        prepare_dataset(settings, [tmp_path / "raw"], tmp_path / "processed")
