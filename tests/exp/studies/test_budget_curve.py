import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.core.settings_reading import changed
from src.exp.program.run import Run
from src.exp.stages.road import Road
from src.exp.studies import budget_curve
from src.exp.studies.budget_curve import draw_budget_curve
from tests.exp.roads import raw_log, run_in

CURVE = [
    "teacher.reading=example",
    "curve.shares=[0.25,0.5]",
    "curve.policies=[random,meta]",
    "student.train.max_epochs=1",
]


def road_of(folder: Path) -> Road:
    return Road(run_in(folder, f"paths.raw_dirs=[{folder / 'raw'}]", *CURVE))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    raw_log(folder / "raw")
    road = road_of(folder)
    return folder, road, draw_budget_curve(road)


def test_what_cannot_be_distilled_is_told_before_anything_runs(tmp_path):
    run = run_in(tmp_path, "student.text_init=0.05", "distill=kl", *CURVE)
    with pytest.raises(UserError, match=r"student.text_init=0.05 goes with distill.text_init=0.05 alone"):
        draw_budget_curve(Road(run))


@pytest.mark.slow
def test_every_policy_has_its_shares_and_the_ends_come_once(drawn):
    _, road, points = drawn
    assert [(point.policy, point.share) for point in points] == [
        ("none", None), ("none", 0.0), ("all", 1.0),
        ("random", 0.25), ("random", 0.5), ("meta", 0.25), ("meta", 0.5),
    ]  # fmt: skip
    n = len(road.prepared.dataset.examples["train"])
    assert [point.examples for point in points] == [0, 0, n, *(2 * [round(n / 4), round(n / 2)])]


@pytest.mark.slow
def test_a_share_costs_the_tokens_of_its_examples(drawn):
    folder, _, points = drawn
    (folder,) = (folder / "teacher_outputs_dir" / "movielens").glob("[!.]*")
    about = json.loads((folder / "manifest.json").read_text())
    assert points[0].tokens == points[1].tokens == 0
    assert points[2].tokens == about["tokens_read"] and points[2].seconds == round(about["seconds"], 1)
    assert all(0 < low.tokens < high.tokens < points[2].tokens for low, high in (points[3:5], points[5:7]))


@pytest.mark.slow
def test_a_curve_that_was_interrupted_goes_on(drawn, monkeypatch):
    folder, _, points = drawn
    monkeypatch.setattr(budget_curve, "fit_student", lambda *_, **__: pytest.fail("trained again"))
    assert draw_budget_curve(road_of(folder)) == points
    shutil.rmtree(folder / "metrics")


@pytest.mark.slow
def test_it_tells_what_it_found_in_a_table_and_a_plot(drawn):
    folder, _, points = drawn
    road = road_of(folder)
    draw_budget_curve(road)
    metrics = folder / "metrics"
    assert sorted(path.name for path in metrics.glob("budget.*")) == [
        "budget.json", "budget.md", "budget.png", "budget.svg",
    ]  # fmt: skip
    lines = (metrics / "budget.md").read_text().splitlines()
    assert lines[2].startswith("| no teacher |") and lines[3].startswith("| its item embeddings alone |")
    assert len(lines) == 2 + len(points)
    assert [point["test"] for point in json.loads((metrics / "budget.json").read_text())] == [p.test for p in points]
    svg = (metrics / "budget.svg").read_bytes()
    budget_curve._report(road.run, road.prepared.dataset, points)
    assert (metrics / "budget.svg").read_bytes() == svg


@pytest.mark.slow
def test_the_curves_teacher_is_the_one_that_run_all_trains(drawn):
    folder, road, _ = drawn
    teachers = {path.name for path in (folder / "models_dir" / "movielens").glob("teacher-*")}
    assert teachers == {road.teacher.folder.name}
    settings = changed(road.run.settings, {"active.policy": "all", "active.share": 1.0})
    outputs = {path.name for path in (folder / "teacher_outputs_dir" / "movielens").glob("[!.]*")}
    assert outputs == {Road(Run(settings, folder, road.run.stopwatch)).outputs.folder.name}


def test_a_dry_run_draws_nothing(tmp_path, capsys):
    raw_log(tmp_path / "raw")
    road = Road(run_in(tmp_path, f"paths.raw_dirs=[{tmp_path / 'raw'}]", *CURVE, "dry_run=true"))
    assert draw_budget_curve(road) == []
    assert "Plan" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"teacher.user_encoder.seed": 7}, {"teacher.prompt.items": 2}, {"seed": 3}])
def test_points_of_another_teacher_or_pool_are_not_taken_for_this_ones(drawn, change):
    _, road, _ = drawn
    road = Road(replace(road.run, settings=changed(road.run.settings, {"active.policy": "all", "active.share": 1.0})))
    other = Road(replace(road.run, settings=changed(road.run.settings, change)))
    assert other.go(other.prepared, other.user_encoder, other.teacher, other.calibration, other.outputs)
    given = {"distill.teacher_outputs_path": str(road.outputs.folder)}
    same = [Road(replace(r.run, settings=changed(r.run.settings, given))) for r in (road, other)]
    assert budget_curve._key(same[0]) != budget_curve._key(same[1])
