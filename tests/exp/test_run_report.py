import re

import pytest

from tests.report.runs import NAMES, dataset_in, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs beside each other, the second the newer one."""
    folder = tmp_path_factory.mktemp("runs")
    dataset = dataset_in(folder)
    return [write_run(folder / f"result_{place}", dataset, *NAMES) for place in (1, 2)]


def test_one_run_gets_its_own_report_again(started, runs, tmp_path):
    status, told, said = started("run_report", tmp_path, tmp_path, f"report.runs=[{runs[0]}]")
    assert (status, said) == (0, "")
    assert told == f"{runs[0] / 'report.html'}\n"
    assert (runs[0] / "report.md").is_file()


def test_without_names_it_is_the_newest_run(started, runs, tmp_path):
    beside = f"hydra.run.dir={runs[0].parent / 'result_3'}"
    assert started("run_report", tmp_path, tmp_path, beside)[:2] == (0, f"{runs[1] / 'report.html'}\n")


def test_several_runs_make_a_report_of_their_own(started, runs, tmp_path):
    status, told, _ = started("run_report", tmp_path, tmp_path, f"report.runs=[{runs[0]},{runs[1]}]")
    assert (status, told) == (0, f"{tmp_path / 'started' / 'report.html'}\n")
    assert "2 runs side by side" in (tmp_path / "started" / "report.html").read_text()


def test_a_price_is_told_as_money(started, runs, tmp_path):
    price = "report.price_per_million_tokens=2"
    assert started("run_report", tmp_path, tmp_path, f"report.runs=[{runs[0]}]", price)[0] == 0
    assert re.search(r"\| together \| 4,000,000 \| 1 min 31 s \| 8.00 \|", (runs[0] / "report.md").read_text())


def test_a_dry_run_writes_nothing(started, runs, tmp_path):
    (runs[0] / "report.html").unlink(missing_ok=True)
    status, told, _ = started("run_report", tmp_path, tmp_path, f"report.runs=[{runs[0]}]", "dry_run=true")
    assert (status, told) == (0, f"Would write the report of {runs[0]} into {runs[0]}.\n")
    assert not (runs[0] / "report.html").exists()


def test_a_folder_that_is_no_run_is_told_in_a_sentence(started, tmp_path):
    status, _, said = started("run_report", tmp_path, tmp_path, f"report.runs=[{tmp_path / 'nowhere'}]")
    assert status == 2
    assert said.startswith("error: report.runs names") and said.count("\n") == 1
