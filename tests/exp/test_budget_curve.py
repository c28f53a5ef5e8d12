import json
import shutil

import pytest

from src.exp import budget_curve
from src.exp.budget_curve import draw_budget_curve
from tests.exp.roads import run_in
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
CURVE = [
    "teacher.reading=example",
    "curve.shares=[0.25,0.5]",
    "curve.policies=[random,meta]",
    "student.train.max_epochs=1",
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    run = run_in(folder, *CURVE)
    return folder, run, draw_budget_curve(run, DATASET)


@pytest.mark.slow
def test_every_policy_has_its_shares_and_the_ends_come_once(drawn):
    _, _, points = drawn
    assert [(point.policy, point.share) for point in points] == [
        ("none", None), ("none", 0.0), ("all", 1.0),
        ("random", 0.25), ("random", 0.5), ("meta", 0.25), ("meta", 0.5),
    ]  # fmt: skip
    n = len(DATASET.examples["train"])
    assert [point.examples for point in points] == [0, 0, n, *(2 * [round(n / 4), round(n / 2)])]


@pytest.mark.slow
def test_a_share_costs_the_tokens_of_its_examples(drawn):
    _, run, points = drawn
    (folder,) = (run.path("teacher_outputs_dir") / "tiny").iterdir()
    about = json.loads((folder / "manifest.json").read_text())
    assert points[0].tokens == points[1].tokens == 0
    assert points[2].tokens == about["tokens_read"] and points[2].seconds == round(about["seconds"], 1)
    assert all(0 < low.tokens < high.tokens < points[2].tokens for low, high in (points[3:5], points[5:7]))


@pytest.mark.slow
def test_a_curve_that_was_interrupted_goes_on(drawn, monkeypatch):
    folder, run, points = drawn
    monkeypatch.setattr(budget_curve, "fit_student", lambda *_: pytest.fail("trained again"))
    assert draw_budget_curve(run, DATASET) == points
    shutil.rmtree(folder / "metrics")


@pytest.mark.slow
def test_it_tells_what_it_found_in_a_table_and_a_plot(drawn):
    folder, run, points = drawn
    draw_budget_curve(run, DATASET)
    metrics = folder / "metrics"
    assert sorted(path.name for path in metrics.glob("budget.*")) == [
        "budget.json", "budget.md", "budget.png", "budget.svg",
    ]  # fmt: skip
    lines = (metrics / "budget.md").read_text().splitlines()
    assert lines[2].startswith("| no teacher |") and lines[3].startswith("| its item embeddings alone |")
    assert len(lines) == 2 + len(points)
    assert [point["test"] for point in json.loads((metrics / "budget.json").read_text())] == [p.test for p in points]
    svg = (metrics / "budget.svg").read_bytes()
    budget_curve._report(run, DATASET, points)
    assert (metrics / "budget.svg").read_bytes() == svg
