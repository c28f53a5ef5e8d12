import os
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from omegaconf import OmegaConf

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.core.settings_reading import changed, read_settings
from src.data import prepare
from src.data.prepare import prepare_dataset
from src.data.raw.log import check_layout
from src.data.raw.movielens import MOVIELENS_100K, read_u_item
from src.data.settings import DatasetSettings
from tests.data.raw_folders import RATINGS, amazon_games, amazon_toys, ml_1m, ml_100k, write

DATA = Path(os.environ.get("ANYO_DATA_DIR", "absent"))
CONF = CONF_DIR / "dataset"
ONE_FILE = [{"name": "u.data"}]
NUM_LEFT = "No interaction of .* is left after "


def run(tmp_path, settings):
    return prepare_dataset(settings, [tmp_path], tmp_path / "processed")


def shipped(name) -> DatasetSettings:
    return read_settings(DatasetSettings, OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml")))


def refused(tmp_path, settings, message):
    with pytest.raises(UserError, match=message) as error:
        run(tmp_path, settings)
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "processed").rglob("*") if path.is_file()]  # nothing half-written


@pytest.mark.parametrize("layout", [ml_100k, ml_1m])
def test_movielens_worked_by_hand(tmp_path, layout):
    dataset = run(tmp_path, layout(tmp_path))
    assert dataset.item_log.tolist() == [1, 3, 2, 2, 1, 2, 3]
    assert dataset.num_train.tolist() == [2, 1]
    assert dataset.catalogue.raw_ids == ["10", "20", "30"]  # item 40 is listed but never rated
    assert dataset.catalogue.text(1) == "Alien (1979); Comedy, Sci-Fi"
    ends = {name: (e.example_id.tolist(), e.user.tolist(), e.end.tolist()) for name, e in dataset.examples.items()}
    assert ends == {"train": ([0], [0], [1]), "val": ([1, 2], [0, 1], [2, 1]), "test": ([3, 4], [0, 1], [3, 2])}
    batch = dataset.batch(dataset.examples["test"], 2)
    assert batch.history.tolist() == [[3, 2], [1, 2]]
    assert batch.target.tolist() == [2, 3]


def test_the_tables_have_the_columns_of_the_contract(tmp_path):
    folder = run(tmp_path, ml_100k(tmp_path)).folder
    assert pl.read_parquet(folder / "interactions.parquet").rows()[:2] == [(0, 1, 100, 0), (0, 3, 200, 1)]
    columns = {path.stem: pl.read_parquet(path).schema for path in folder.glob("*.parquet")}
    small = {"examples_train", "examples_val", "examples_test"}
    assert {tuple(columns[name].items()) for name in small} == {
        (("example_id", pl.Int32), ("user", pl.Int32), ("end", pl.Int32))
    }
    assert list(columns["interactions"]) == ["user", "item", "timestamp", "position"]
    assert list(columns["items"]) == ["item", "raw_id", "title", "text"]
    assert pl.read_parquet(folder / "users.parquet").to_dicts()[0] == {
        "user": 0, "raw_id": "7", "num_interactions": 4, "num_train": 2
    }  # fmt: skip


def test_the_manifest_says_what_it_was_made_from(tmp_path):
    dataset = run(tmp_path, ml_100k(tmp_path))
    manifest = read_manifest(dataset.folder)
    assert manifest["name"] == "tiny"
    assert manifest["prompt"] == "movies"
    assert set(manifest["raw_files"]) == {"u.data", "u.item"}
    assert manifest["settings"]["split"] == "leave_one_out"
    assert manifest["counts"] == {
        "users": 2, "items": 3, "interactions": 7, "untitled_items": 0,
        "train_examples": 1, "val_examples": 2, "test_examples": 2,
    }  # fmt: skip


def test_ties_in_time_keep_the_log_order(tmp_path):
    log = [(1, 30, 5, 9), (1, 10, 5, 9), (2, 20, 5, 9), (1, 20, 5, 9), (1, 10, 5, 8), (2, 10, 5, 9), (2, 30, 5, 9)]
    dataset = run(tmp_path, ml_100k(tmp_path, log))
    raw_ids = [dataset.catalogue.raw_id(item) for item in dataset.item_log.tolist()]
    assert raw_ids == ["10", "30", "10", "20", "20", "10", "30"]


def test_an_artefact_that_is_there_is_not_made_again(tmp_path, monkeypatch):
    chosen = ml_100k(tmp_path)
    first = run(tmp_path, chosen)
    monkeypatch.setattr(prepare, "make_dataset", None)
    again = run(tmp_path, changed(chosen, {"prompt": "games", "val_share": 0.4}))
    assert again.folder == first.folder
    assert torch.equal(again.item_log, first.item_log)


def test_filters_come_before_numbers(tmp_path):
    change = {"min_rating": 3, "min_user_interactions": 3}
    dataset = run(tmp_path, changed(ml_100k(tmp_path, [*RATINGS, (7, 10, 3, 500)]), change))
    assert dataset.catalogue.raw_ids == ["10", "20"]  # user 9 kept two interactions and went, and with it item 30
    assert dataset.item_log.tolist() == [1, 2, 2, 1]


def test_the_limit_reads_from_the_top(tmp_path):
    log = [(7, 20, 5, 300), (7, 10, 3, 100), (7, 40, 1, 400), (7, 30, 1, 200), (7, 20, 4, 250)]
    dataset = run(tmp_path, changed(ml_100k(tmp_path, log), {"limit_data_rows": 4}))
    raw_ids = [dataset.catalogue.raw_id(item) for item in dataset.item_log.tolist()]
    assert raw_ids == ["10", "30", "20", "40"]


def test_given_split_of_amazon_games(tmp_path):
    dataset = run(tmp_path, amazon_games(tmp_path))
    assert dataset.item_log.tolist() == [1, 2, 3, 2, 3, 1, 2]
    assert dataset.num_train.tolist() == [3, 1]
    ends = {name: list(zip(e.user.tolist(), e.end.tolist(), strict=True)) for name, e in dataset.examples.items()}
    assert ends == {"train": [(0, 1), (0, 2)], "val": [(0, 3)], "test": [(1, 1), (1, 2)]}
    assert dataset.catalogue.titles == ["Pong & Co", "Quake", "Risk"]


def test_leave_one_out_of_amazon_toys(tmp_path):
    dataset = run(tmp_path, amazon_toys(tmp_path))
    assert dataset.item_log.tolist() == [2, 3, 1, 3, 1, 2, 3]
    assert dataset.catalogue.raw_ids == ["0", "1", "2"]
    assert dataset.catalogue.titles == ['Top 18"', "Kite", "Kite"]


def test_a_missing_file_is_named(tmp_path):
    chosen = ml_100k(tmp_path)
    (tmp_path / "ml-100k/u.item").unlink()
    refused(tmp_path, chosen, r"only u.item in .*ml-100k is missing")


def test_a_truncated_log_is_refused(tmp_path):
    chosen = ml_1m(tmp_path)
    path = tmp_path / "ml-1m/ratings.dat"
    path.write_bytes(path.read_bytes()[:-6] + b"\n")
    refused(tmp_path, chosen, "ratings.dat, line 7: 3 of 4 fields")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_rating": 6}, NUM_LEFT + r"dataset.min_rating=6\.0, .*min_user_interactions=0.*: loosen them"),
        ({"min_user_interactions": 5}, NUM_LEFT + ".*dataset.min_user_interactions=5"),
        ({"min_item_interactions": 4}, NUM_LEFT + ".*dataset.min_item_interactions=4"),
        ({"split": "given"}, "dataset.split=given needs a reader with"),
        ({"split": "global_time", "val_share": 0.5, "test_share": 0.4}, "leaves no train example"),
        ({"files": ONE_FILE}, "dataset.files lists 1 files, but the reader takes 2"),
        ({"files": ONE_FILE, "split": "given"}, "lists 1 .*; dataset.split=given needs .*: change these settings"),
    ],
)
def test_settings_that_do_not_go_with_the_raw_files_are_named(tmp_path, change, message):
    refused(tmp_path, changed(ml_100k(tmp_path), change), message)


def test_users_too_short_for_leave_one_out_are_counted_and_one_named(tmp_path):
    chosen = ml_100k(tmp_path, [*RATINGS, (3, 10, 5, 1), (4, 10, 5, 1), (4, 20, 5, 1)])
    message = "2 of 4 users .*fewer than three .*user 3 has 1.*: set dataset.min_user_interactions=3"
    refused(tmp_path, chosen, message)
    assert run(tmp_path, changed(chosen, {"min_user_interactions": 3})).num_users == 2


def test_a_limit_that_makes_users_short_is_told(tmp_path):
    chosen = changed(ml_100k(tmp_path), {"limit_data_rows": 5})
    refused(tmp_path, chosen, re.escape("dataset.limit_data_rows=5 cuts the log"))


@pytest.mark.parametrize("titles", [{10: "A", 20: "B"}, {10: "A", 20: "B", 30: " "}])
def test_an_item_without_a_title_is_named(tmp_path, titles):
    refused(
        tmp_path, ml_100k(tmp_path, titles=titles), r"Item 30 of .*u.data has no title in .*u.item \(1 such items\)"
    )


TWICE = replace(MOVIELENS_100K, read_items=lambda path, settings: pl.concat([read_u_item(path)] * 2))


def test_an_item_that_a_reader_of_ones_own_names_twice_is_refused(tmp_path):
    chosen = changed(ml_100k(tmp_path), {"reader": f"{__name__}:TWICE"})
    refused(tmp_path, chosen, "Item 10 has several titles in .*u.item: keep one")


def test_ratings_are_not_asked_of_a_log_without_them(tmp_path):
    chosen = changed(amazon_toys(tmp_path), {"min_rating": 3})
    refused(tmp_path, chosen, r"dataset.min_rating=3\.0, but .*data.txt has no ratings")


def test_global_time_is_not_asked_of_a_log_without_times(tmp_path):
    refused(tmp_path, changed(amazon_games(tmp_path), {"split": "global_time"}), "global_time needs real times")


def test_an_empty_log_is_refused(tmp_path):
    chosen = ml_100k(tmp_path)
    write(tmp_path / "ml-100k/u.data", "")
    refused(tmp_path, chosen, "u.data holds no interactions")


def test_every_shipped_dataset_goes_with_its_layout():
    paths = sorted(CONF.glob("*.yaml"))
    assert {"amazon_games", "amazon_toys", "custom", "ml_100k", "movielens"} < {path.stem for path in paths}
    for path in paths:
        chosen = shipped(path.stem)
        assert chosen.name == path.stem
        check_layout(changed(chosen, {} if chosen.files else {"interactions": "log.csv"}))


@pytest.mark.skipif(not (DATA / "ml-100k").is_dir(), reason="ANYO_DATA_DIR holds no ml-100k")
def test_the_real_ml_100k(tmp_path):
    dataset = prepare_dataset(shipped("ml_100k"), [DATA], tmp_path)
    assert (dataset.num_users, dataset.num_items, len(dataset.item_log)) == (943, 1682, 100_000)
    assert {name: len(examples) for name, examples in dataset.examples.items()} == {
        "train": 100_000 - 3 * 943, "val": 943, "test": 943
    }  # fmt: skip
    assert dataset.catalogue.text(1) == "Toy Story (1995); Animation, Children's, Comedy"
    first_user = [line.split() for line in (DATA / "ml-100k/u.data").read_text().splitlines() if line.startswith("1\t")]
    expected = [int(item) for _, item, _, _ in sorted(first_user, key=lambda fields: int(fields[3]))]
    assert dataset.item_log[: len(expected)].tolist() == expected
