import polars as pl
import pytest

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.data.conversion.convert import convert
from src.data.conversion.settings import ConvertSettings
from tests.data.conversion.test_frames import write


@pytest.fixture
def settings(tmp_path):
    train = write(tmp_path / "train_data.jsonl")
    val = write(tmp_path / "Val_data.jsonl", [([7, 9, 9], 1, 4)])
    names = tmp_path / "id2name.txt"
    names.write_text("".join(f"{item}::Artist::{item} \n" for item in range(9)), encoding="utf-8")
    return ConvertSettings(train=train, val=val, names=names)


def test_a_log_and_its_items_are_written(settings, tmp_path):
    counts = convert(settings, tmp_path / "out")
    log = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert log.filter(pl.col("user") == "0")["item"].to_list() == ["4", "5", "4", "6"]
    assert log.filter(pl.col("user") == "1")["part"].to_list() == ["history", "val"]
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items.row(4) == ("4", "Artist::4") and len(items) == 9
    assert counts == read_manifest(tmp_path / "out")["counts"]
    assert counts == {
        "train_windows": 4,
        "val_windows": 1,
        "test_windows": 0,
        "windows_without_history": 1,
        "users": 2,
        "interactions": 6,
        "items": 4,
    }


def test_movielens_names_count_from_1(settings, tmp_path):
    flags = "|".join("0" * 19)
    path = tmp_path / "u.item"
    path.write_text("".join(f"{item}|Film {item} (1990)||||{flags}\n" for item in range(1, 9)), encoding="latin-1")
    convert(settings.model_copy(update={"names": path}), tmp_path / "out")
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items.row(0) == ("0", "Film 1 (1990)")


def test_names_of_another_dataset_are_refused(settings, tmp_path):
    settings.names.write_text("0::A\n")
    with pytest.raises(UserError, match=r"Item 4 has no line in .*id2name\.txt \(4 such items\)"):
        convert(settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_frames_are_told(tmp_path):
    with pytest.raises(UserError, match="There are no windows to convert"):
        convert(ConvertSettings(), tmp_path / "out")
