import os
import shlex

import polars as pl
import pytest

from src.core.errors import UserError
from src.data.prepare import prepare_dataset
from src.exp.program.config import compose_settings
from src.exp.run_reduce import job
from tests.data.own_logs import write_table
from tests.data.reduction.sparks import needs_spark
from tests.data.reduction.test_reduce import full_log
from tests.exp.roads import run_in, start_program

CUSTOM = ["dataset=custom", "dataset.min_user_interactions=3"]


def test_a_log_has_to_be_named(tmp_path):
    with pytest.raises(UserError, match=r"reduce\.log does not name the log"):
        job(run_in(tmp_path, *CUSTOM, f"dataset.interactions={tmp_path / 'reduced.parquet'}"))


def test_a_dry_run_writes_nothing_and_starts_no_spark(tmp_path, capsys):
    file = tmp_path / "reduced.parquet"
    job(run_in(tmp_path, *CUSTOM, f"dataset.interactions={file}", "reduce.log=hdfs://there/log", "dry_run=true"))
    assert capsys.readouterr().out == f"Would write {file}.\n" and not file.exists()


@needs_spark
def test_what_it_says_reads_what_it_wrote(tmp_path, monkeypatch):
    log = write_table(tmp_path / "parts" / "one.parquet", full_log())
    file = tmp_path / "reduced.parquet"
    overrides = [*CUSTOM, f"dataset.interactions={file}", f"reduce.log={log.parent}"]
    monkeypatch.setitem(os.environ, "PYSPARK_SUBMIT_ARGS", "--master local[1] pyspark-shell")
    done = start_program("run_reduce", tmp_path, tmp_path, tmp_path / "run", *overrides)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "rows: 120" and said[1].startswith("kept: ")
    _, told = said[-1].split(": ", 1)
    dataset = prepare_dataset(compose_settings(*shlex.split(told)).dataset, [], tmp_path / "processed")
    assert dataset.num_users == 12 and len(dataset.item_log) <= len(pl.read_parquet(file))
