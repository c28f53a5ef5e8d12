import pytest

from src.report.sections.training import curves, monitor_of, training_name
from src.report.stored import Artefact, read_run
from tests.report.runs import dataset_in, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return read_run(write_run(folder / "result_1", dataset_in(folder), "baseline", "teacher"))


def test_every_training_is_a_line_over_its_seconds(run):
    figure, table = curves(run).blocks
    assert [trace["name"] for trace in figure.traces] == ["teacher", "distilled"]
    assert [trace["hovertemplate"].partition(":")[0] for trace in figure.traces] == [
        "teacher, seed 0",
        "distilled, seed 1",
    ]
    assert figure.traces[0]["x"] == [2.0, 4.0, 6.0] and figure.traces[0]["y"] == [0.1, 0.3, 0.2]
    assert table.rows[0] == [
        "teacher, seed 0", "validation NDCG@10", "0.3000", "5.250", "4.0 s", "3", "3", "6.0 s", "6.000 → 4.000",
    ]  # fmt: skip


def test_trainings_chosen_by_different_figures_are_not_drawn_together(run):
    answers = {"step": 1, "seconds": 3.0, "val/HR@1": 0.4, "train/loss": 2.0}
    writer = Artefact(stage="teacher: training", kind="teacher", seed=5, seconds=3.0, result={"curve": [answers]})
    run.made_from.artefacts["writer"] = writer
    *figures, table = curves(run).blocks
    assert [figure.layout["yaxis"]["title"]["text"] for figure in figures] == ["validation NDCG@10", "validation HR@1"]
    assert [len(figure.traces) for figure in figures] == [2, 1]
    assert len(table.rows) == 3
    assert monitor_of(writer) == "val/HR@1"


def test_a_training_is_called_by_stage_and_seed():
    training = Artefact(stage="self-distilled: training", kind="student", seed=3, seconds=1.0, result={})
    assert training_name(training) == "self-distilled, seed 3"
