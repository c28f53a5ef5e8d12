import ast
import csv

import pytest

from src.data.export import dllm2rec
from src.data.export.dllm2rec import export_dllm2rec
from tests.worlds import tiny_dataset, tiny_logs

LENGTH, NUM_ITEMS = 4, 15


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    export_dllm2rec(tiny_dataset(), tmp_path / "tiny", LENGTH, {})
    return tmp_path / "tiny"


def test_rows_are_our_examples_in_order_in_its_numbers(folder):
    wanted = {"train": [], "val": [], "test": []}
    for log in tiny_logs():
        for end in range(1, len(log)):
            part = {len(log) - 1: "test", len(log) - 2: "val"}.get(end, "train")
            history = [item - 1 for item in log[:end][-LENGTH:]]
            padded = history + [NUM_ITEMS] * (LENGTH - len(history))
            wanted[part].append((padded, len(history), log[end] - 1))
    for part, rows in wanted.items():
        read = [
            (ast.literal_eval(row["seq"]), int(row["len_seq"]), float(row["next"]))
            for row in table(folder / f"{part}_data.csv")
        ]
        assert read == rows


def test_sizes_names_and_raw_ids_stand_beside(folder):
    assert table(folder / "data_statis.csv") == [{"seq_size": str(LENGTH), "item_num": str(NUM_ITEMS)}]
    catalogue = tiny_dataset().catalogue
    names = (folder / "id2name.txt").read_text().splitlines()
    assert [line.split("::") for line in names] == [[str(n), title] for n, title in enumerate(catalogue.titles)]
    assert [row["raw_id"] for row in table(folder / "items.csv")] == catalogue.raw_ids


def test_a_file_written_in_pieces_is_the_same(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(dllm2rec, "AT_ONCE", 5)
    export_dllm2rec(tiny_dataset(), tmp_path / "pieces", LENGTH, {})
    for path in folder.glob("*_data.csv"):
        assert (tmp_path / "pieces" / path.name).read_text() == path.read_text()


def test_the_conversion_that_stands_beside_gives_lists(folder, tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(folder)
    kept = {}
    monkeypatch.setattr(pandas.DataFrame, "to_pickle", lambda frame, path: kept.update({path: frame}))
    exec((folder / "to_pickle.py").read_text(), {})
    assert set(kept) == {"train_data.df", "Val_data.df", "Test_data.df", "data_statis.df"}
    assert kept["train_data.df"]["seq"][0] == ast.literal_eval(table(folder / "train_data.csv")[0]["seq"])
    assert kept["data_statis.df"]["item_num"][0] == NUM_ITEMS
