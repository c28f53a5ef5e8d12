import re

import pytest

from src.core.errors import UserError
from src.report.markdown import plain
from src.report.report import sections_of, write_report
from src.report.settings import ReportSettings
from src.report.stored import read_run
from tests.report.runs import NAMES, dataset_in, write_run

TITLES = [
    "Quality", "What explains the gain", "Learning curves", "Where the gain lies", "Overlap of the lists",
    "What the language model reads", "Gates and experts", "Calibration", "Cost", "Twelve users",
]  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return dataset_in(tmp_path_factory.mktemp("dataset"))


def missing_of(run) -> dict[str, list[str]]:
    """What each section says is missing."""
    found = {}
    for section in sections_of([run], ReportSettings()):
        told = [block.text for block in section.blocks if getattr(block, "is_missing", False)]
        found |= {section.title: told} if told else {}
    return found


def test_a_whole_run_lacks_nothing(tmp_path, dataset):
    run = read_run(write_run(tmp_path / "result_1", dataset, *NAMES, seeds=2))
    assert [section.title for section in sections_of([run], ReportSettings())] == TITLES
    assert missing_of(run) == {}


def test_a_baseline_alone_says_what_it_has_not(tmp_path, dataset):
    run = read_run(write_run(tmp_path / "result_1", dataset, "popularity", "baseline"))
    assert set(missing_of(run)) == {
        "Quality", "What explains the gain", "Where the gain lies", "Overlap of the lists", "Gates and experts",
        "What the language model reads",
    }  # fmt: skip


def test_a_run_without_lists_dataset_and_curves_says_so_in_every_section_that_needs_them(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, *NAMES, made_from=False)
    for file in folder.glob("metrics/*.safetensors"):
        file.unlink()
    assert set(missing_of(read_run(folder))) == set(TITLES) - {
        "Quality", "What explains the gain", "What the language model reads",
    }  # fmt: skip


def test_no_figure_is_empty_whatever_the_run_has(tmp_path, dataset):
    for place, subjects in enumerate(
        [("baseline",), ("popularity", "teacher"), ("baseline", "distilled"), tuple(NAMES)]
    ):
        run = read_run(write_run(tmp_path / f"result_{place}", dataset, *subjects))
        figures = [b for s in sections_of([run], ReportSettings()) for b in s.blocks if hasattr(b, "traces")]
        assert figures and all(trace["x"] and trace["y"] for figure in figures for trace in figure.traces)


def test_page_and_markdown_hold_the_same_tables_and_the_verdict_comes_first(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, *NAMES)
    page = write_report([folder], folder, ReportSettings())
    html, text = page.read_text(), (folder / "report.md").read_text()
    assert page == folder / "report.html"
    assert html.count("<table") == text.count("| --- |")
    assert re.search(r"<header>\s*<h1>.*?</h1>\s*<p class=\"verdict\">(No difference|Distilled)", html)
    assert text.splitlines()[2].startswith(("**No difference", "**Distilled"))


def test_the_same_run_is_told_by_the_same_bytes(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, *NAMES)
    first = write_report([folder], folder, ReportSettings()).read_bytes()
    assert write_report([folder], folder, ReportSettings()).read_bytes() == first


def test_several_runs_stand_side_by_side_and_then_one_by_one(tmp_path, dataset):
    folders = [write_run(tmp_path / f"result_{place}", dataset, *NAMES) for place in (1, 2)]
    runs = [read_run(folder) for folder in folders]
    told = [section.title for section in sections_of(runs, ReportSettings())]
    assert told == ["Side by side", *(f"result_{place}: {title}" for place in (1, 2) for title in TITLES)]
    write_report(folders, tmp_path, ReportSettings())
    assert (tmp_path / "report.html").is_file() and not (folders[0] / "report.html").exists()


def test_runs_in_folders_of_one_name_are_told_by_their_paths(tmp_path, dataset):
    folders = [write_run(tmp_path / place / "result_1", dataset, "baseline", "teacher") for place in ("a", "b")]
    text = write_report(folders, tmp_path, ReportSettings()).with_name("report.md").read_text()
    assert all(text.count(f"## {plain(str(folder))}: Quality") == 1 for folder in folders)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"report.runs names .*nowhere, which has no metrics"):
        write_report([tmp_path / "nowhere"], tmp_path, ReportSettings())
