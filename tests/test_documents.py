import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

import pytest

from src.cli import commands
from src.core.paths import CONF_DIR, ROOT
from src.exp.program.config import compose_settings
from tests import documents
from tests.exp.keys import every_key
from tests.exp.roads import run_in
from tests.links import dead_links

OTHERS = {".venv", ".poetry-venv", "data", "result", "build", "ref_repositories", ".pytest_cache"}
DOCUMENTS = [path for path in sorted(ROOT.glob("**/*.md")) if not OTHERS & set(path.relative_to(ROOT).parts)]
OF_TODAY = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]


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


@cache
def code(document: Path) -> str:
    return documents.code_of(document.read_text(encoding="utf-8"))


def test_what_stands_in_code_is_found():
    told = documents.code_of(
        "`a.b=1` c.d=2\n```bash\n./cmd/run_all_pipeline.sh teacher.train.lr=1 student=gru4rec  # s\n```"
    )
    assert told.splitlines() == ["./cmd/run_all_pipeline.sh teacher.train.lr=1 student=gru4rec  # s", "", "a.b=1"]
    assert documents.keys(told) == {"teacher.train.lr"}
    assert documents.options(told + " student@teacher.user_encoder=caser student.seed=1") == {
        ("student", "gru4rec"), ("student", "caser"),
    }  # fmt: skip
    assert documents.modules("poetry run python -m src.exp.run_all x=1\npython -m tests.links") == {
        "src.exp.run_all", "tests.links",
    }  # fmt: skip
    assert list(documents.whole_lines(told)) == [["teacher.train.lr=1", "student=gru4rec"]]
    assert list(documents.whole_lines("src.exp.run_all teacher.path=<yours>")) == []


@pytest.mark.parametrize("document", OF_TODAY, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_tells_to_type_is_there(document):
    known = {key for _, key in every_key()}
    told = {re.sub(r"^ensemble\.members\.\w+\.", "student.", key) for key in documents.keys(code(document))}
    unknown = {key for key in told if key not in known and not key.startswith("search.space.")}
    assert not unknown
    shown = set(re.findall(r"(\w+)/(\w+)\.yaml", document.read_text(encoding="utf-8")))  # a reader's own
    gone = {(choice, option) for choice, option in documents.options(code(document)) - shown
            if not (CONF_DIR / choice / f"{option}.yaml").is_file()}  # fmt: skip
    assert not gone
    for module in documents.modules(code(document)):
        assert find_spec(module), module
    assert documents.installed_commands(code(document)) <= commands().keys()
    assert not [script for script in documents.scripts(code(document)) if not (ROOT / script).is_file()]


@pytest.mark.parametrize("document", OF_TODAY, ids=lambda path: str(path.relative_to(ROOT)))
def test_command_lines_in_a_document_are_configs_that_can_be_read(document):
    for overrides in documents.whole_lines(code(document)):
        if not {("student", "last_item")} & documents.options(" ".join(overrides)):  # the worked example's own
            compose_settings(*overrides)


@pytest.mark.slow
def test_the_program_in_python_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    import matplotlib

    from tests.exp.roads import SMALL, place, raw_log

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    small = [*SMALL, *place(tmp_path), f"paths.raw_dirs=[{raw_log(tmp_path / 'raw')}]"]
    program, changed = re.subn(r"^settings = .*$", f"settings = {small!r}", program, flags=re.MULTILINE)
    assert changed == 1
    (tmp_path / "program.py").write_text(program)
    run_path(str(tmp_path / "program.py"))
    told = capsys.readouterr().out
    assert "12 users, 15 items" in told and "target:" in told and "'NDCG@10'" in told
    assert (tmp_path / "hit_ratio.png").stat().st_size > 1000
    assert len(list((tmp_path / "models_dir").glob("*/baseline-*/manifest.json"))) == 1


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
