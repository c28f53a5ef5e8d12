import csv
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from src.core.errors import UserError
from src.data.catalogue import Catalogue
from src.data.export import recbole
from src.data.export.recbole import export_recbole
from tests.worlds import tiny_dataset, tiny_logs

LENGTH = 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(folder=tmp_path_factory.mktemp("tiny"))


def table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def exported(dataset, folder):
    export_recbole(dataset, folder, LENGTH, {})
    return {path.name.removeprefix("tiny."): table(path) for path in folder.glob("*.i*")}


def raw(items):
    return [str(10 * item) for item in items]


def test_the_log_is_the_whole_log_with_raw_ids_in_order(dataset, tmp_path):
    head, *rows = exported(dataset, tmp_path / "tiny")["inter"]
    assert head == ["user_id:token", "item_id:token", "timestamp:float"]
    logs = [(str(user + 1), item) for user, log in enumerate(tiny_logs()) for item in raw(log)]
    assert [(user, item) for user, item, _ in rows] == logs
    assert [int(time) for _, _, time in rows[:3]] == [1000, 1001, 1002]


def test_the_split_is_ours_example_by_example(dataset, tmp_path):
    files = exported(dataset, tmp_path / "tiny")
    wanted = {"train": [], "valid": [], "test": []}
    for user, log in enumerate(tiny_logs()):
        for end in range(1, len(log)):
            part = {len(log) - 1: "test", len(log) - 2: "valid"}.get(end, "train")
            history = " ".join(raw(log[:end][-LENGTH:]))
            wanted[part].append([str(user + 1), history, str(10 * log[end])])
    for part, rows in wanted.items():
        head, *found = files[f"{part}.inter"]
        assert head == ["user_id:token", "item_id_list:token_seq", "item_id:token"]
        assert found == rows


def test_a_file_written_in_pieces_is_the_same(dataset, tmp_path, monkeypatch):
    whole = exported(dataset, tmp_path / "whole" / "tiny")
    monkeypatch.setattr(recbole, "AT_ONCE", 5)
    assert exported(dataset, tmp_path / "pieces" / "tiny") == whole


def test_items_keep_their_titles_and_the_config_names_the_split(dataset, tmp_path):
    head, *items = exported(dataset, tmp_path / "tiny")["item"]
    assert head == ["item_id:token", "title:token_seq", "text:token_seq"]
    assert [row[:2] for row in items] == [
        [dataset.catalogue.raw_id(item), dataset.catalogue.title(item)] for item in range(1, 16)
    ]
    config = OmegaConf.load(tmp_path / "tiny" / "tiny.yaml")
    assert config.benchmark_filename == ["train", "valid", "test"] and config.MAX_ITEM_LIST_LENGTH == LENGTH


@pytest.mark.parametrize("raw_id", ["two words", "tab\there", "NA", "null", ""])
def test_an_id_that_would_be_read_as_another_is_refused(dataset, tmp_path, raw_id):
    catalogue = dataset.catalogue
    ids = [raw_id, *catalogue.raw_ids[1:]]
    strange = replace(dataset, catalogue=Catalogue(ids, catalogue.titles, catalogue.texts))
    with pytest.raises(UserError, match="cannot be exported to RecBole"):
        export_recbole(strange, tmp_path / "tiny", LENGTH, {})
    assert not (tmp_path / "tiny").exists()


def test_a_title_may_hold_quotes_and_line_breaks(dataset, tmp_path):
    catalogue = dataset.catalogue
    titles = ['"Quoted"\ttwice\nover', *catalogue.titles[1:]]
    strange = replace(dataset, catalogue=Catalogue(catalogue.raw_ids, titles, catalogue.texts))
    assert exported(strange, tmp_path / "tiny")["item"][1][1] == '"Quoted" twice over'


def test_a_name_that_yaml_takes_for_a_number_stays_a_name(dataset, tmp_path):
    export_recbole(replace(dataset, name="2024"), tmp_path / "2024", LENGTH, {})
    assert OmegaConf.load(tmp_path / "2024" / "2024.yaml").dataset == "2024"
