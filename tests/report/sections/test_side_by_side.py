from dataclasses import replace

import pytest

from src.report.sections.side_by_side import side_by_side
from src.report.settings import ReportSettings
from src.report.stored import read_run
from tests.report.runs import NAMES, dataset_in, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    dataset = dataset_in(folder)
    whole = read_run(write_run(folder / "result_1", dataset, *NAMES))
    return whole, read_run(write_run(folder / "result_2", dataset, "popularity", "baseline"))


def test_every_model_of_every_run_is_told_with_its_own_comparison(runs):
    said, figure, models, costs = side_by_side(runs, ReportSettings(price_per_million_tokens=1.0)).blocks
    assert said.text.startswith("All runs are over the same prepared dataset")
    assert [row[:3] for row in models.rows] == [
        *(["result_1", "tiny", name] for name in NAMES.values()),
        ["result_2", "tiny", "Popularity"], ["result_2", "tiny", "Baseline (sasrec)"],
    ]  # fmt: skip
    gain = next(each for each in runs[0].comparison.differences if each.model == "Distilled (sasrec)")
    trace = figure.traces[-1]
    assert trace["x"] == [gain.relative]
    assert trace["customdata"][0][0] == pytest.approx(gain.low / (gain.difference / gain.relative))
    assert costs.rows[0][:4] == ["result_1", "4,000,000", "1 min 31 s", "4.00"]


def test_runs_over_different_datasets_are_said_to_be(runs):
    first, second = runs
    model = second.models["baseline"]
    figures = model.trainings[0].figures.model_copy(update={"dataset_fingerprint": "another"})
    other = replace(model, trainings=[replace(model.trainings[0], figures=figures)])
    told = side_by_side([first, replace(second, models={"baseline": other})], ReportSettings())
    assert "different datasets" in told.blocks[0].text and "nothing is tested" in told.blocks[0].text


def test_a_difference_of_nothing_is_told_like_any_other(runs):
    first = runs[0]
    none = [
        replace(each, difference=0.0, low=0.0, high=0.0, relative=0.0, p_holm=1.0)
        if each.model == NAMES["teacher"]
        else each
        for each in first.comparison.differences
    ]
    run = replace(first, comparison=replace(first.comparison, differences=none))
    _, figure, models, _ = side_by_side([run, runs[1]], ReportSettings()).blocks
    assert len(figure.traces) == 4 and [0.0] in [trace["x"] for trace in figure.traces]
    row = next(row for row in models.rows if row[2] == NAMES["teacher"])
    assert row[5:] == ["+0.0000 [+0.0000, +0.0000]", "+0.0 %", "1.0000"]


def test_a_sum_that_lacks_tokens_is_not_put_beside_others(tmp_path):
    run = read_run(write_run(tmp_path / "result_1", dataset_in(tmp_path), *NAMES))
    del run.made_from.artefacts["teacher-a"].result["tokens_read"]
    costs = side_by_side([run, run], ReportSettings(price_per_million_tokens=1.0)).blocks[-1]
    assert costs.rows[0][:4] == ["result_1", "not all kept", "1 min 31 s", ""]


def test_runs_that_rank_other_items_are_said_to(runs):
    first, second = runs
    assert "compete" not in side_by_side(runs, ReportSettings()).blocks[0].text
    model = second.models["popularity"]
    figures = model.trainings[0].figures.model_copy(update={"filter_seen": True})
    other = replace(
        second, models={"popularity": replace(model, trainings=[replace(model.trainings[0], figures=figures)])}
    )
    said, *_, costs = side_by_side([first, other], ReportSettings(price_per_million_tokens=1.0)).blocks
    assert "do not compete in result_2" in said.text
    assert costs.rows[0][3] and costs.rows[1][1:4] == ["4,000,000", "1 min 31 s", "4.00"]
    nothing = replace(other, made_from=None)
    costs = side_by_side([first, nothing], ReportSettings(price_per_million_tokens=1.0)).blocks[-1]
    assert costs.rows[1][1:4] == ["", "", ""]
