import pytest

from src.core.artefact import sha256_of
from src.core.errors import UserError
from src.core.settings_reading import changed
from src.data.raw.log import find_raw_log, settings_that_count
from tests.data.raw_folders import RATINGS, amazon_games, ml_100k


def fingerprint(tmp_path, settings, **change) -> str:
    return find_raw_log(changed(settings, change), [tmp_path]).fingerprint


def test_the_log_is_found_and_not_read(tmp_path):
    chosen = ml_100k(tmp_path)
    (tmp_path / "ml-100k/u.data").write_text("no log at all")
    raw = find_raw_log(chosen, [tmp_path / "absent", tmp_path])
    assert raw.paths == [tmp_path / "ml-100k" / name for name in ("u.data", "u.item")]
    assert raw.sha256 == {path.name: sha256_of(path) for path in raw.paths}


def test_a_log_that_is_not_there_is_told_where_none_is_to_be_fetched(tmp_path):
    chosen = ml_100k(tmp_path)
    with pytest.raises(UserError, match="raw files of tiny are not there yet"):
        find_raw_log(chosen, [tmp_path / "absent"], fetch=False)
    assert find_raw_log(chosen, [tmp_path], fetch=False) == find_raw_log(chosen, [tmp_path])


@pytest.mark.parametrize(
    "change",
    [
        {"reader": "movielens_1m"},
        {"limit_data_rows": 7},
        {"min_rating": 1},
        {"min_user_interactions": 3},
        {"min_item_interactions": 1},
        {"split": "given"},
    ],
)
def test_settings_change_the_fingerprint(tmp_path, change):
    chosen = ml_100k(tmp_path)
    assert fingerprint(tmp_path, chosen, **change) != fingerprint(tmp_path, chosen)


def test_shares_and_contents_change_the_fingerprint(tmp_path):
    chosen = changed(ml_100k(tmp_path), {"split": "global_time"})
    fingerprints = {fingerprint(tmp_path, chosen, val_share=share) for share in (0.2, 0.3)}
    fingerprints.add(fingerprint(tmp_path, chosen, test_share=0.3))
    ml_100k(tmp_path, [*RATINGS[:-1], (7, 20, 4, 500)])
    fingerprints.add(fingerprint(tmp_path, chosen))
    assert len(fingerprints) == 4


def test_what_changes_no_row_does_not_change_the_fingerprint(tmp_path):
    chosen = ml_100k(tmp_path)
    change = {"name": "other", "prompt": "games", "publisher": "https://x", "wheel": "x", "val_share": 0.4}
    assert fingerprint(tmp_path, chosen, **change) == fingerprint(tmp_path, chosen)
    pinned = [{"name": file.name, "sha256": [sha256_of(tmp_path / "ml-100k" / file.name)]} for file in chosen.files]
    assert fingerprint(tmp_path, chosen, files=pinned) == fingerprint(tmp_path, chosen)


def test_the_settings_that_count_are_plain_values(tmp_path):
    counting = {
        "reader": "movielens_100k",
        "limit_data_rows": -1,
        "min_rating": None,
        "min_user_interactions": 0,
        "min_item_interactions": 0,
        "split": "leave_one_out",
    }
    chosen = ml_100k(tmp_path)
    assert settings_that_count(chosen) == counting
    by_time = {**counting, "split": "global_time", "val_share": 0.2, "test_share": 0.2}
    assert settings_that_count(changed(chosen, {"split": "global_time"})) == by_time


def test_files_in_another_order_are_another_dataset(tmp_path):
    chosen = amazon_games(tmp_path)
    train, valid, test, items = chosen.files
    turned = chosen.model_copy(update={"files": [train, test, valid, items]})
    assert find_raw_log(chosen, [tmp_path]).fingerprint != find_raw_log(turned, [tmp_path]).fingerprint
