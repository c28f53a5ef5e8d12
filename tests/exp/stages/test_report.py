import json

import pytest

from src.exp.stages.report import report
from tests.exp.stages.whole import whole

pytestmark = pytest.mark.slow


@pytest.fixture
def reported(made, monkeypatch, capsys):
    """Reports popularity and the trained models of a made road; returns its run and what was printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def of(*subjects: str, compared: bool):
        road = made()
        evaluations = road.evaluations(*subjects)
        comparison = whole(road)[-1] if compared else None
        report(road.run, evaluations, comparison)
        return road.run.dir, capsys.readouterr().out

    return of


def test_a_run_gets_the_figures_of_its_models_and_their_tables(reported):
    folder, told = reported("popularity", "baseline", "teacher", "distilled", compared=True)
    assert sorted(path.name for path in (folder / "metrics").iterdir()) == [
        "baseline.json", "baseline.safetensors", "comparison.json", "comparison.md", "comparison.tex", "distilled.json",
        "distilled.safetensors", "made_from.json", "popularity.json", "popularity.safetensors", "slices.md", "table.md",
        "teacher.json", "teacher.safetensors",
    ]  # fmt: skip
    assert json.loads((folder / "metrics" / "teacher.json").read_text())["model"] == "Teacher (ilora, tiny-random)"
    rows = (folder / "metrics" / "table.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        "Popularity", "Baseline (sasrec)", "Teacher (ilora, tiny-random)", "Distilled (sasrec)",
    ]  # fmt: skip
    assert "tiny, test: 12 users, full ranking" in told
    assert "Differences to Baseline (sasrec), 12 users" in told


def test_without_a_comparison_there_is_none(reported):
    folder, told = reported("popularity", "baseline", compared=False)
    assert sorted(path.name for path in (folder / "metrics").iterdir()) == [
        "baseline.json", "baseline.safetensors", "made_from.json", "popularity.json", "popularity.safetensors",
        "slices.md", "table.md",
    ]  # fmt: skip
    assert "Differences" not in told


def test_a_run_that_writes_where_another_did_leaves_nothing_of_it_beside_its_own(made):
    road = made()
    report(road.run, road.evaluations("popularity", "baseline", "distilled"), whole(road)[-1])
    with road.run.stopwatch.stage("what this run made itself"):
        pass
    report(road.run, road.evaluations("popularity", "teacher"))
    assert sorted(path.name for path in (road.run.dir / "metrics").iterdir()) == [
        "made_from.json", "popularity.json", "popularity.safetensors", "slices.md", "table.md", "teacher.json",
        "teacher.safetensors", "time.json",
    ]  # fmt: skip


def test_a_run_that_made_nothing_does_not_tell_the_times_of_another_in_its_folder(made):
    road = made()
    (road.run.dir / "metrics").mkdir()
    (road.run.dir / "metrics" / "time.json").write_text('{"seconds": {"teacher: training": 3600.0}}')
    report(road.run, road.evaluations("popularity", "teacher"))
    assert not (road.run.dir / "metrics" / "time.json").exists()
    assert "Stages of this run" not in (road.run.dir / "report.md").read_text()


def test_the_commit_is_that_at_which_the_run_began(made):
    road = made()
    road.run.stopwatch.git = {"commit": "0123456789abcdef", "dirty": True}
    report(road.run, road.evaluations("popularity", "teacher"))
    assert "program at 012345678, with changes" in (road.run.dir / "report.html").read_text()


def test_the_probe_is_told_of_a_teacher_that_was_probed_and_of_no_other(made):
    road = made("probe.max_examples=5")
    folder = road.run.dir / "metrics"
    report(road.run, road.evaluations("popularity", "teacher"), None, road.probes)
    assert not (folder / "probe.json").exists()
    assert "did not probe its teacher" in (road.run.dir / "report.md").read_text()
    assert road.go(road.prepared, *road.probes)
    report(road.run, road.evaluations("popularity", "teacher"), None, road.probes)
    assert (folder / "probe.json").read_bytes() == (road.probe.folder / "probe.json").read_bytes()
    assert "| titles of other items |" in (road.run.dir / "report.md").read_text()
    report(road.run, road.evaluations("popularity", "baseline"), None, [])
    assert not (folder / "probe.json").exists()
