import math
from dataclasses import replace

import pytest

from src.report.sections.teacher import calibration, experts
from src.report.stored import read_run
from tests.report.runs import NAMES, dataset_in, write_run


@pytest.fixture
def run(tmp_path):
    return read_run(write_run(tmp_path / "result_1", dataset_in(tmp_path), *NAMES))


def test_gates_are_means_of_groups_that_sum_to_one(run):
    said, by_length, table, by_activity, _ = experts(run).blocks
    gates = run.models["teacher"].lists[0]["gates"]
    for figure in (by_length, by_activity):
        assert [sum(shares) for shares in zip(*(trace["x"] for trace in figure.traces), strict=True)] == pytest.approx(
            [1.0] * len(figure.traces[0]["x"]), abs=1e-6
        )
    shortest = gates[run.dataset.examples["test"].end <= 2].mean(0)
    assert table.rows[0][2:] == [f"{value:.3f}" for value in shortest.tolist()]
    entropy = -(gates * gates.log()).sum(1).mean().item()
    assert f"{entropy:.3f} nats" in said.text and f"{math.log(4):.3f}" in said.text


def test_one_expert_is_told(run):
    lists = run.models["teacher"].trainings[0].lists
    lists["gates"] = lists["gates"][:, :1]
    (said,) = experts(run).blocks
    assert said.is_missing and "one expert" in said.text


def test_cross_entropies_stand_beside_that_of_knowing_nothing(run):
    figure, table, _ = calibration(run).blocks
    assert table.rows[0] == ["Uniform over what competes", "2.708", "15", "+0.000", ""]
    likelihood = run.models["teacher"].lists[0]["log_likelihood"].double()
    by_name = {row[0]: row for row in table.rows}
    assert by_name[NAMES["teacher"]][1] == f"{-likelihood.mean().item():.3f}"
    assert [trace["name"] for trace in figure.traces] == [
        "as sure as it is right", *(NAMES[subject] for subject in ("baseline", "teacher", "distilled")),
    ]  # fmt: skip
    assert set(by_name) == {"Uniform over what competes", *NAMES.values()} - {"Popularity"}


def test_what_knows_nothing_is_as_good_as_its_list_is_short(run):
    for model in run.models.values():
        for each in model.trainings:
            each.figures.filter_seen = True
    fewer = calibration(run).blocks[1].rows[0]
    assert fewer[0] == "Uniform over what competes" and 2.0 < float(fewer[1]) < 2.708
    unknown = calibration(replace(run, dataset=None)).blocks[1].rows
    assert unknown[0][0] == NAMES["baseline"] and {row[3] for row in unknown} == {""}
