import pytest

from src.report.sections.users import common, examples, slices
from src.report.stored import read_run
from tests.report.runs import NAMES, dataset_in, write_run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return dataset_in(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, dataset):
    return read_run(write_run(tmp_path_factory.mktemp("run") / "result_1", dataset, *NAMES, seeds=2))


def test_gains_by_group_add_up_to_the_whole(run):
    popularity, table, length, other, _ = slices(run).blocks
    gain = run.models["distilled"].values("NDCG@10") - run.models["baseline"].values("NDCG@10")
    for figure, rows in ((popularity, table.rows), (length, other.rows)):
        counts = [int(row[1]) for row in rows if row[1] != "0"]
        assert sum(counts) == 12
        assert sum(n * y for n, y in zip(counts, figure.traces[0]["y"], strict=True)) / 12 == pytest.approx(gain.mean())
    assert table.header == [
        "Target popularity", "Interactions", "Baseline (sasrec)", "Distilled (sasrec)", "Teacher (ilora, tiny-random)",
        "Self-distilled (sasrec)", "Titles alone (sasrec)",
    ]  # fmt: skip
    assert [row[0] for row in other.rows] == ["1-2", "3-5", "6+"]


def test_teacher_student_and_baseline_are_put_side_by_side_in_pairs(run):
    figure, table = common(run).blocks
    assert [row[0] for row in table.rows] == [
        "Teacher (ilora, tiny-random) and Distilled (sasrec)",
        "Teacher (ilora, tiny-random) and Baseline (sasrec)",
        "Distilled (sasrec) and Baseline (sasrec)",
    ]
    assert all(sum(trace["y"]) == pytest.approx(1) for trace in figure.traces)


def test_the_rule_that_is_told_is_the_one_users_were_chosen_by(run, tmp_path, dataset):
    rule, *users = examples(run).blocks
    assert "largest" not in rule.text and "rises most" in rule.text and len(users) == 12
    alone = read_run(write_run(tmp_path / "result_1", dataset, "baseline"))
    rule, *users = examples(alone).blocks
    assert rule.text.startswith("Chosen at random") and {user.why for user in users} == {"at random"}
