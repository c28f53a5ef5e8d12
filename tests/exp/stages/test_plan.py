import json
import shutil
from pathlib import Path

import pytest

from src.exp.stages.plan import plan_table
from tests.exp.roads import road_in
from tests.exp.stages.whole import whole
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def states(road) -> dict[str, str]:
    return {title: state for title, _, _, state, _ in plan_table(whole(road)).rows}


def set_seconds(folder: Path, seconds: float) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "seconds_of_stage": seconds}))


def test_where_nothing_was_made_everything_is_to_be_made_and_no_time_is_known(tmp_path):
    table = plan_table(whole(road_in(tmp_path, DATASET)))
    assert table.header == ["Stage", "reads", "artefact", "state", "time, as before"]
    assert table.rows[0] == ["prepare", "", DATASET.fingerprint, "there", ""]
    assert {tuple(row[3:]) for row in table.rows[1:]} == {("to be made: not there", "not known yet")}
    assert [row[0] for row in table.rows] == [
        "prepare", "baseline: training", "user encoder: training", "teacher: training", "teacher: calibration",
        "teacher: export", "distilled: training", "evaluation: popularity", "evaluation: baseline",
        "evaluation: teacher", "evaluation: distilled", "comparison",
    ]  # fmt: skip


def test_it_tells_what_reads_what_and_where_it_will_lie(tmp_path):
    road = road_in(tmp_path, DATASET)
    rows = {title: rest for title, *rest in plan_table(whole(road)).rows}
    assert rows["teacher: training"][:2] == ["user encoder: training", road.teacher.folder.name]
    assert rows["teacher: calibration"][0] == "teacher: training"
    assert rows["teacher: export"][0] == rows["evaluation: teacher"][0] == "teacher: calibration"
    assert rows["distilled: training"][0] == "teacher: export"
    assert rows["comparison"][0] == "evaluation: baseline, evaluation: teacher, evaluation: distilled"


@pytest.mark.slow
def test_a_dry_run_makes_nothing_and_prints_the_plan(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    road = made("dry_run=true", "seed=3")
    before = everything(tmp_path)
    assert road.go(*whole(road)) is False
    assert everything(tmp_path) == before
    told = capsys.readouterr().out
    assert "Plan: about" in told
    for title, _, folder, state, _ in plan_table(whole(road)).rows:
        assert any(title in line and folder in line and state in line for line in told.splitlines())
    assert road.run.stopwatch.seconds == {}


@pytest.mark.slow
def test_what_is_there_and_what_is_to_be_made_is_named(made):
    assert set(states(made()).values()) == {"there"}
    found = states(made("distill.lam=0.7"))
    assert {title for title, state in found.items() if state == "to be made: not there"} == {
        "distilled: training", "evaluation: distilled", "comparison",
    }  # fmt: skip
    assert set(found.values()) == {"there", "to be made: not there"}


@pytest.mark.slow
def test_what_was_made_from_another_input_is_named(made):
    road = made()
    manifest = json.loads((road.baseline.folder / "manifest.json").read_text())
    manifest["files"] = {"model.safetensors": {"bytes": 1, "sha256": "0"}}
    (road.baseline.folder / "manifest.json").write_text(json.dumps(manifest))
    found = {
        title for title, state in states(made()).items() if state == "to be made: made from another trained student"
    }
    after = {"distilled: training", "evaluation: teacher", "evaluation: distilled", "comparison"}
    assert found == {"teacher: training", "teacher: calibration", "teacher: export", "evaluation: baseline", *after}


@pytest.mark.slow
def test_what_is_made_again_is_named_and_nothing_else(made, tmp_path):
    found = states(made("rerun=true"))
    assert found.pop("prepare") == "there"  # it is not made again
    assert set(found.values()) == {"to be made: made again (rerun=true)"}
    shutil.copytree(made().baseline.folder, tmp_path / "given")
    given = states(made("rerun=true", f"teacher.rec_model_checkpoint_path={tmp_path / 'given'}"))
    assert given["user encoder: training"] == "there"


@pytest.mark.slow
def test_times_are_medians_of_earlier_artefacts_of_the_same_kind(made):
    road = made()
    set_seconds(road.teacher.folder, 100.0)
    for copy, seconds in (("a", 200.0), ("b", 1_500.0)):
        folder = road.teacher.folder.with_name(f"teacher-ilora-{copy}")
        shutil.copytree(road.teacher.folder, folder)
        set_seconds(folder, seconds)
    set_seconds(road.outputs.folder, 30.4)
    table = plan_table([made("teacher.lora.r=4").teacher, made("teacher.lora.r=4").outputs])
    assert [row[3:] for row in table.rows] == [
        ["to be made: not there", "200 s"],
        ["to be made: not there", "30 s"],
    ]
    assert table.title == "Plan: about 230 s for what has been timed before"
    assert [row[3:] for row in plan_table([made().teacher]).rows] == [["there", ""]]


@pytest.mark.slow
def test_two_stages_with_one_artefact_are_made_and_timed_once(made):
    own, encoder = made().baseline.folder, made("seed=1").user_encoder.folder
    shutil.copytree(own, encoder)
    for folder, title in ((own, "baseline: training"), (encoder, "user encoder: training")):
        about = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**about, "stage": title, "seconds_of_stage": 10.0}))
    road = made("seed=2")
    assert road.baseline.folder == road.user_encoder.folder
    assert plan_table([road.baseline, road.user_encoder]).title.startswith("Plan: about 10 s")


def test_no_name_is_told_before_all_is_known_that_it_is_made_of(tmp_path):
    """A language model is told by its files, and they are not there yet."""
    road = road_in(tmp_path, DATASET, "teacher.llm.name=no/such-model-on-this-machine")
    names = {title: name for title, _, name, _, _ in plan_table(whole(road)).rows}
    assert names["baseline: training"] == road.baseline.folder.name
    assert {title for title, name in names.items() if name == "named once the language model is there"} == {
        "teacher: training", "teacher: calibration", "teacher: export", "distilled: training", "evaluation: teacher",
        "evaluation: distilled", "comparison",
    }  # fmt: skip


@pytest.mark.slow
def test_a_damaged_artefact_beside_them_is_no_matter(made):
    road = made("seed=3")
    for name, content in (("broken", b"{"), ("foreign", b"[]")):
        (road.baseline.folder.parent / name).mkdir()
        (road.baseline.folder.parent / name / "manifest.json").write_bytes(content)
    assert plan_table([road.baseline]).rows[0][0] == "baseline: training"
