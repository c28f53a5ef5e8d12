"""Each preset of conf/dataset, on a few invented lines in its publisher's layout."""

import polars as pl
import pytest

from src.core.paths import CONF_DIR
from src.data.dataset import Dataset
from src.data.prepare import prepare_dataset
from src.exp.program.config import compose_settings
from tests.data.published import PRESETS

OTHERS = {"ml_100k", "movielens", "amazon_games", "amazon_toys", "custom"}  # tried in tests of their readers


def prepared(preset, data_dir, processed_dir) -> Dataset:
    published = PRESETS[preset]
    published.write(preset, data_dir)
    overrides = [override.format(data_dir) for override in published.overrides]
    settings = compose_settings(f"dataset={preset}", *overrides)
    return prepare_dataset(settings.dataset, [data_dir], processed_dir)


def histories(dataset: Dataset) -> dict[str, list[str]]:
    users = pl.read_parquet(dataset.folder / "users.parquet")["raw_id"].to_list()
    logs = dataset.item_log.tensor_split(dataset.offsets[1:-1])
    return {
        user: [dataset.catalogue.raw_id(item) for item in log.tolist()] for user, log in zip(users, logs, strict=True)
    }


def test_every_preset_has_its_lines():
    assert set(PRESETS) | OTHERS == {path.stem for path in (CONF_DIR / "dataset").glob("*.yaml")}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_reads_its_publishers_layout(preset, tmp_path):
    dataset, published = prepared(preset, tmp_path / "raw", tmp_path / "processed"), PRESETS[preset]
    assert histories(dataset) == published.histories
    assert dict(zip(dataset.catalogue.raw_ids, dataset.catalogue.titles, strict=True)) == published.titles
    if published.text:
        raw_id, text = published.text
        assert dataset.catalogue.text(dataset.catalogue.number(raw_id)) == text


def test_ilora_trains_on_train_windows_alone(tmp_path):
    dataset = prepared("lastfm_ilora", tmp_path / "raw", tmp_path / "processed")
    assert dataset.num_train.tolist() == [3, 0, 0]
    assert {split: len(examples) for split, examples in dataset.examples.items()} == {"train": 2, "val": 1, "test": 1}
    assert dataset.train_item_counts().tolist() == [0, 1, 1, 1]
