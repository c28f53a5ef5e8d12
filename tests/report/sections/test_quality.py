import json

import pytest

from src.core.artefact import write_json
from src.report.blocks import Figure
from src.report.intervals import estimate
from src.report.sections.quality import explanation, quality, verdict_of
from src.report.stored import read_run
from tests.report.runs import NAMES, dataset_in, write_run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return dataset_in(tmp_path_factory.mktemp("dataset"))


def test_the_verdict_is_of_the_distilled_student_else_of_the_last_model_compared(tmp_path, dataset):
    whole = read_run(write_run(tmp_path / "result_1", dataset, *NAMES))
    assert "Distilled (sasrec)" in verdict_of(whole)
    teacher = read_run(write_run(tmp_path / "result_2", dataset, "baseline", "teacher"))
    assert "Teacher (ilora" in verdict_of(teacher)
    alone = read_run(write_run(tmp_path / "result_3", dataset, "popularity", "baseline"))
    mean = alone.models["baseline"].values("NDCG@10").mean()
    assert verdict_of(alone).startswith("No models were compared") and f"Baseline (sasrec) {mean:.4f}" in verdict_of(
        alone
    )


def test_means_are_the_comparisons_and_popularity_stands_beside(tmp_path, dataset):
    run = read_run(write_run(tmp_path / "result_1", dataset, *NAMES, seeds=2))
    figure = quality(run).blocks[0]
    shown = {trace["y"][0].replace("<br>", " "): trace["customdata"][0][:2] for trace in figure.traces}
    assert list(shown) == list(NAMES.values())
    for mean in run.comparison.means:
        if mean.metric == "NDCG@10":
            assert shown[mean.model] == [mean.low, mean.high]
    assert shown["Popularity"][0] is not None


def test_every_figure_of_every_model_is_told_once(tmp_path, dataset):
    run = read_run(write_run(tmp_path / "result_1", dataset, *NAMES, seeds=2))
    table = quality(run).blocks[-1]
    assert table.header == ["Model", *NAMES.values()]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["NDCG@10"] == [f"{model.values('NDCG@10').mean():.4f}" for model in run.models.values()]
    assert rows["Parameters"] == ["1,000"] * 6


def test_a_gain_is_explained_step_by_step(tmp_path, dataset):
    run = read_run(write_run(tmp_path / "result_1", dataset, *NAMES))
    steps, table, whole = explanation(run).blocks
    assert [trace["y"][0] for trace in steps.traces] == [
        "Baseline →<br>Titles alone",
        "Titles alone →<br>Self-distilled",
        "Self-distilled →<br>Distilled",
    ]
    assert [trace["x"][0] for trace in steps.traces] == [
        each.difference for each in run.comparison.steps if each.metric == "NDCG@10"
    ]
    assert table.title.startswith("What the gain is made of")
    assert len(whole.traces) == 4


def test_only_steps_that_there_are_are_told(tmp_path, dataset):
    whole = read_run(write_run(tmp_path / "result_1", dataset, *NAMES))
    assert "encodings of the titles" in explanation(whole).blocks[0].says
    fewer = read_run(write_run(tmp_path / "result_2", dataset, *(name for name in NAMES if name != "titles")))
    says = explanation(fewer).blocks[0].says
    assert "encodings of the titles" not in says and "beside the teacher's item embeddings" in says


def test_intervals_are_called_by_their_own_confidence(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, *NAMES)
    path = folder / "metrics" / "comparison.json"
    write_json(path, json.loads(path.read_text()) | {"confidence": 0.5})
    run = read_run(folder)
    said = [block.says for section in (quality(run), explanation(run)) for block in section.blocks if _is_figure(block)]
    assert len(said) == 3 and all("with 50 % confidence intervals" in each for each in said)
    low, high = quality(run).blocks[0].traces[0]["customdata"][0][:2]  # popularity, which no comparison holds
    wide = estimate(run.models["popularity"].values("NDCG@10"), run.user)
    assert wide.low < low < high < wide.high


def _is_figure(block) -> bool:
    return isinstance(block, Figure)
