import pytest

from src.core.errors import UserError
from src.core.settings_reading import changed, read_settings
from src.data.settings import DatasetSettings, RawFile

LEAST = {"name": "tiny", "reader": "movielens_100k", "raw_dir": "raw", "files": [{"name": "log"}, {"name": "items"}]}
SETTINGS = read_settings(DatasetSettings, LEAST)


def test_a_config_says_where_the_log_is_and_the_types_say_the_rest():
    assert SETTINGS.files == [RawFile(name="log", sha256=[]), RawFile(name="items", sha256=[])]
    assert (SETTINGS.split, SETTINGS.limit_data_rows, SETTINGS.min_rating) == ("leave_one_out", -1, None)
    with pytest.raises(UserError) as caught:
        read_settings(DatasetSettings, {})
    assert all(f"{key} is missing" in str(caught.value) for key in LEAST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "random"}, "split=random must be leave_one_out, global_time, given or sessions"),
        ({"reader": "csv"}, "dataset.reader=csv is not known: use one of movielens_100k"),
        ({"split": "random", "reader": "csv"}, "reader=csv .*; split=random"),
        ({"limit_data_rows": 0}, "limit_data_rows=0 must be a whole number above 0, or -1 for all"),
        ({"split": "random", "limit_data_rows": 0}, "limit_data_rows=0 must be .*; split=random must be"),
        ({"split": "global_time", "val_share": 0.6, "test_share": 0.4}, "val_share and test_share must be below 1"),
        ({"split": "global_time", "val_share": 0.0}, "val_share=0.0 must be a number above 0 and below 1"),
        ({"split": "global_time", "test_share": 1.0}, "test_share=1.0 must be a number above 0 and below 1"),
        ({"min_user_interactions": -1}, "min_user_interactions=-1 must be a whole number, 0 or above"),
        ({"min_rating": "3"}, "min_rating=3 must be null or a number"),
        ({"files": [{"sha256": []}]}, "files=.* must be a list of {name, sha256"),
        ({"files": [{"name": "log", "sha": []}]}, "files=.* must be a list of {name, sha256"),
    ],
)
def test_a_wrong_setting_is_named(change, message):
    with pytest.raises(UserError, match=message) as caught:
        changed(SETTINGS, change)
    assert "\n" not in str(caught.value)


def test_shares_count_only_where_the_split_is_by_time():
    change = {"val_share": 0.6, "test_share": 0.4}
    assert changed(SETTINGS, change).val_share == 0.6
    with pytest.raises(UserError):
        changed(SETTINGS, {**change, "split": "global_time"})
