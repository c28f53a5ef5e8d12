import numpy as np
import pytest

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.exp.run_export_data import job
from src.exp.stages.road import Road
from tests.distill.outputs import ranking_of, write_outputs
from tests.exp.roads import raw_log, run_in


def exporting(folder, *overrides):
    raw = raw_log(folder / "raw")
    return run_in(folder, f"paths.raw_dirs=[{raw}]", "dataset.name=tiny", *overrides)


def test_recbole_is_the_default_and_lies_in_the_run_directory(tmp_path, capsys):
    run = exporting(tmp_path)
    job(run)
    folder = run.dir / "export" / "tiny"
    assert capsys.readouterr().out == f"written: {folder}\n"
    assert (folder / "tiny.train.inter").is_file()
    manifest = read_manifest(folder)
    assert (manifest["layout"], manifest["history_length"]) == ("recbole", 50)


def test_dllm2rec_gets_the_teacher_outputs_that_the_config_names(tmp_path):
    run = exporting(tmp_path)
    road = Road(run)
    road.go(road.prepared)
    dataset = road.prepared.dataset
    train = dataset.examples["train"].example_id
    write_outputs(tmp_path / "given", dataset, train, *ranking_of(len(train), dataset.num_items))
    given = [f"distill.teacher_outputs_path={tmp_path / 'given'}", "export.teacher=true", "export.layout=dllm2rec"]
    job(exporting(tmp_path, *given, f"export.out={tmp_path / 'out'}"))
    assert read_manifest(tmp_path / "out" / "data" / "tiny")["history_length"] == 10
    assert len(np.loadtxt(tmp_path / "out" / "tocf" / "tiny" / "confidence_train.txt")) == len(train)


def test_recbole_with_teacher_outputs_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"export\.teacher=true needs export\.layout=dllm2rec"):
        exporting(tmp_path, "export.teacher=true")


def test_missing_teacher_outputs_are_told_with_the_command_that_makes_them(tmp_path):
    run = exporting(tmp_path, "export.teacher=true", "export.layout=dllm2rec")
    with pytest.raises(UserError, match=r"There is no teacher outputs at .*run_teacher"):
        job(run)
