import shlex

from src.data.prepare import prepare_dataset
from src.exp.program.config import compose_settings
from src.exp.run_convert import job
from tests.data.published import PRESETS
from tests.exp.roads import run_in


def frames(folder):
    PRESETS["lastfm_ilora"].write("lastfm_ilora", folder)
    names = {"train": "train_data.jsonl", "val": "Val_data.jsonl", "test": "Test_data.jsonl", "names": "id2name.txt"}
    return [f"convert.{key}={folder / 'lastfm-ilora' / name}" for key, name in names.items()]


def test_what_it_says_reads_what_it_wrote(tmp_path, capsys):
    job(run_in(tmp_path, *frames(tmp_path / "raw"), f"convert.out={tmp_path / 'out'}"))
    said = capsys.readouterr().out.splitlines()
    assert "train windows: 3" in said and "users: 3" in said
    _, overrides = said[-1].split(": ", 1)
    dataset = prepare_dataset(compose_settings(*shlex.split(overrides)).dataset, [], tmp_path / "processed")
    assert {split: len(examples) for split, examples in dataset.examples.items()} == {"train": 2, "val": 1, "test": 1}
    assert dataset.catalogue.titles == ["Morning::Band", "Two", "Three"]


def test_it_lies_in_the_run_directory_where_nothing_else_is_said(tmp_path):
    run = run_in(tmp_path, *frames(tmp_path / "raw"))
    job(run)
    assert (run.dir / "converted" / "interactions.parquet").is_file()


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    job(run_in(tmp_path, *frames(tmp_path / "raw"), f"convert.out={tmp_path / 'out'}", "dry_run=true"))
    assert capsys.readouterr().out == f"Would write {tmp_path / 'out'}.\n"
    assert not (tmp_path / "out").exists()
