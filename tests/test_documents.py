import re
from importlib import import_module
from pathlib import Path

import pytest

from src.core.paths import ROOT
from src.exp.program.config import compose_settings
from tests.exp.roads import run_in
from tests.links import dead_links

DOCUMENTS = [path for path in sorted(ROOT.glob("**/*.md")) if not {".venv", ".poetry-venv"} & set(path.parts)]


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[a](there.md) [b](there.md#a-heading) [c](#here) ![d](there.md) [e](https://example.org/x)", 0),
        ("[a](absent.md)", 1),
        ("[a](there.md#another)", 1),
        ("![a](absent.png) [b](#there)", 2),
        ("```\n[a](absent.md)\n```", 0),
    ],
)
def test_dead_links_are_found(tmp_path, text, dead):
    (tmp_path / "there.md").write_text("# A heading\n")
    (tmp_path / "document.md").write_text(f"## Here\n{text}\n")
    assert len(dead_links(tmp_path / "document.md")) == dead


def block(text: str, language: str, place: int) -> str:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)[place]


@pytest.mark.slow
def test_the_worked_example_of_a_new_student_works(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = text[text.index("## A new student") :]
    (tmp_path / "last_item.py").write_text(block(example, "python", 0))
    (tmp_path / "test_last_item.py").write_text(block(example, "python", 1))
    (tmp_path / "conf" / "student").mkdir(parents=True)
    (tmp_path / "conf" / "student" / "last_item.yaml").write_text(block(example, "yaml", 0))
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = [f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "student=last_item"]
    assert compose_settings(*chosen).student.model.dropout == 0.1
    tests = vars(import_module("test_last_item"))
    (test,) = [value for name, value in tests.items() if name.startswith("test_")]
    test()
    road = _trained(tmp_path / "run", *chosen)
    assert type(road.baseline.load()).__name__ == "LastItem"


def _trained(folder: Path, *overrides: str):
    from src.exp.stages.road import Road
    from tests.exp.roads import raw_log

    raw = raw_log(folder / "raw")
    road = Road(run_in(folder, f"paths.raw_dirs=[{raw}]", *overrides))
    assert road.go(road.prepared, road.baseline)
    return road
