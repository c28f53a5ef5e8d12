"""docs/own_data.md, run as it stands there: from files of one's own to recommendations."""

import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest

from src.core.paths import ROOT
from tests.data.raw_folders import ml_100k
from tests.exp.roads import SMALL
from tests.test_documents import block
from tests.worlds import tiny_logs, tiny_titles

TEXT = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
COMMANDS = [line for line in TEXT.splitlines() if line.startswith("poetry run python -m src.exp.")]


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder that is taken for the checkout, with a small log where MovieLens-100K would be."""
    rows = [
        (user + 1, item, 5, 10**9 + place) for user, log in enumerate(tiny_logs()) for place, item in enumerate(log)
    ]
    ml_100k(tmp_path / "data" / "raw", rows, dict(enumerate(tiny_titles(), start=1)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("src.core.paths._START_DIR", tmp_path)
    monkeypatch.setattr("src.exp.program.config.ROOT", tmp_path)
    return tmp_path


def run(command: str, checkout: Path, monkeypatch) -> Path:
    """Starts a command of the document with a small student and teacher; returns its run folder."""
    found = re.fullmatch(r"poetry run python -m src\.exp\.(\w+) (.*)", command.replace("$PWD", str(checkout)))
    assert found
    name, run_dir = found[1], checkout / f"run_of_{found[1]}"
    monkeypatch.setattr(sys, "argv", [name, *SMALL[1:], *shlex.split(found[2]), f"hydra.run.dir={run_dir}"])
    import_module(f"src.exp.{name}").main()
    monkeypatch.chdir(checkout)
    return run_dir


@pytest.mark.slow
def test_from_file_to_recommendations(checkout, monkeypatch, capsys):
    exec(block(TEXT, "python", 0), {})
    assert (checkout / "ratings.csv").read_text().startswith("viewer,film,stars,seen_at\nv")
    check, baseline, whole = COMMANDS
    assert (run(check, checkout, monkeypatch) / "check.md").read_text().startswith("# Check of custom")
    (checkout / "mine" / "dataset").mkdir(parents=True)
    (checkout / "mine" / "dataset" / "films.yaml").write_text(block(TEXT, "yaml", 0))
    run(baseline, checkout, monkeypatch)
    capsys.readouterr()
    exec(block(TEXT, "python", 1), {})
    first, *places = capsys.readouterr().out.splitlines()
    assert first == "after ['Film No. 1 (1951)', 'Film No. 2 (1952)', 'Film No. 3 (1953)']"
    assert len(places) == 10 and not {"00001", "00002", "00003"} & {line.split()[1] for line in places}
    for place, line in enumerate(places, start=1):
        assert re.fullmatch(rf" ?{place} (000\d\d) Film No\. \d+ \(19\d\d\) \(-?\d+\.\d\d\)", line), line
    table = run(whole, checkout, monkeypatch) / "metrics" / "table.md"
    assert "| Distilled (sasrec)" in table.read_text()
    assert list((checkout / "data" / "models" / "films").glob("distilled-*"))
