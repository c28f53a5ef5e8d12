import pytest

from src.report.sections.cost import Reading, cost, money, read_by_teacher, together
from src.report.settings import ReportSettings
from src.report.stored import read_run
from tests.report.runs import NAMES, dataset_in, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return read_run(write_run(folder / "result_1", dataset_in(folder), *NAMES))


def test_tokens_are_those_of_training_and_of_ranking(run):
    assert read_by_teacher(run) == [
        Reading("training the teacher", 1_000_000, 61.0),
        Reading("ranking 50 training examples", 3_000_000, 30.0),
    ]


def test_tokens_that_were_not_kept_are_said_to_be():
    readings = [Reading("a", None, 5.0), Reading("b", 7, 1.0)]
    assert together(readings) == Reading("together, as far as it was kept", 7, 6.0)


def test_a_teacher_of_an_earlier_version_is_told_without_tokens(tmp_path):
    run = read_run(write_run(tmp_path / "result_1", dataset_in(tmp_path), *NAMES))
    del run.made_from.artefacts["teacher-a"].result["tokens_read"]
    table, *_ = cost(run, ReportSettings(price_per_million_tokens=1.0)).blocks
    assert table.rows[0] == ["training the teacher", "not kept", "1 min 1 s", ""]
    assert table.rows[-1][0] == "together, as far as it was kept"


def test_without_a_price_no_money_is_told(run):
    table, said, *_ = cost(run, ReportSettings()).blocks
    assert table.header == ["Language model read for", "Tokens", "Time"]
    assert table.rows[-1] == ["together", "4,000,000", "1 min 31 s"]
    assert "report.price_per_million_tokens" in said.text


def test_money_is_tokens_times_price(run):
    table, said, *_ = cost(run, ReportSettings(price_per_million_tokens=2.5)).blocks
    assert [row[-1] for row in table.rows] == ["2.50", "7.50", "10.00"]
    assert "2.5 per million" in said.text


@pytest.mark.parametrize(("tokens", "told"), [(2_000_000_000, "200.00"), (62_839, "0.0063"), (0, "0.0000")])
def test_small_sums_are_told_with_more_digits(tokens, told):
    assert money(tokens, 0.1) == told


def test_speed_is_told_against_the_teacher(run):
    table = next(block for block in cost(run, ReportSettings()).blocks if getattr(block, "title", "") == "Ranking")
    by_name = {row[0]: row[1:] for row in table.rows}
    assert by_name[NAMES["teacher"]][1] == ""
    teacher, student = run.models["teacher"].ms_per_1000_users, run.models["distilled"].ms_per_1000_users
    assert by_name[NAMES["distilled"]] == [f"{student:,.1f}", f"{teacher / student:,.0f}× faster"]


def test_what_is_not_counted_is_said(run):
    _, said, *_ = cost(run, ReportSettings()).blocks
    assert "calibration, to be evaluated, and of the items' texts comes on top" in said.text
