"""The shape of the source: which package may import which, how large a folder gets, what is imported when."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from src.core.paths import ROOT

SRC = ROOT / "src"
FILES = sorted(SRC.rglob("*.py"))
FOLDERS = sorted({file.parent for file in FILES})

BELOW = {  # what each package may import; what stands directly in src is above them all
    "core": set(),
    "data": {"core"},
    "training": {"core", "data"},
    "evaluation": {"core", "data"},
    "report": {"core", "data", "evaluation"},
    "student": {"core", "data", "training", "evaluation"},
    "teacher": {"core", "data", "training", "evaluation", "student"},
    "distill": {"core", "data", "training", "evaluation", "student"},
    "serve": {"core", "data", "evaluation", "student"},
    "exp": {"core", "data", "training", "evaluation", "report", "student", "teacher", "distill", "serve"},
}
HEAVY = ("torch", "polars", "lightning", "transformers", "scipy", "matplotlib", "optuna", "mlflow", "plotly", "jinja2")


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def imports(file: Path) -> set[str]:
    """Modules of ours that a file imports."""
    package = name_of(file) if file.name == "__init__.py" else name_of(file).rpartition(".")[0]
    found = set()
    for statement in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names if alias.name.split(".")[0] == "src"}
        if isinstance(statement, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - statement.level + 1] if statement.level else []
            base = ".".join([*above, *([statement.module] if statement.module else [])])
            if base.split(".")[0] == "src":
                inner = {f"{base}.{alias.name}" for alias in statement.names}
                found |= (inner & MODULES.keys()) or {base}
    return found


def package_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


@pytest.mark.parametrize("package", BELOW)
def test_imports_go_down_alone(package):
    files = sorted((SRC / package).rglob("*.py"))
    assert files
    wrong = {
        (name_of(file), module)
        for file in files
        for module in imports(file)
        if package_of(module) not in BELOW[package] | {package}
    }
    assert not wrong


def test_every_folder_of_the_source_has_its_place():
    assert {folder.relative_to(SRC).parts[0] for folder in FOLDERS if folder != SRC} == set(BELOW)


def test_what_is_imported_is_there():
    assert {module for file in FILES for module in imports(file)} <= MODULES.keys()


def test_no_module_waits_for_itself():
    graph = {name: imports(file) - {name} for name, file in MODULES.items()}
    TopologicalSorter(graph).prepare()


def test_within_the_program_stages_stand_on_the_program_and_studies_on_stages():
    below = {"program": {"program"}, "stages": {"program", "stages"}, "studies": {"program", "stages", "studies"}}
    for folder, allowed in below.items():
        inner = {module for file in (SRC / "exp" / folder).glob("*.py") for module in imports(file)}
        assert {module.split(".")[2] for module in inner if package_of(module) == "exp"} <= allowed


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: name_of(folder / "__init__.py"))
def test_a_folder_says_what_it_is_for_and_can_be_taken_in_at_a_glance(folder):
    assert (folder / "__init__.py").is_file()
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    most = 26 if folder == SRC / "exp" else 14  # the commands stand side by side, where the specification has them
    assert len([file for file in folder.glob("*.py") if file.name != "__init__.py"]) <= most


# --- what is imported when

SETTINGS = sorted(name for name in MODULES if name.endswith(".settings"))


def python(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_settings_and_help_come_without_what_is_heavy():
    assert len(SETTINGS) > 6
    code = (
        f"import sys, importlib\n"
        f"for name in {[*SETTINGS, 'src.exp.program.help', 'src.core.registry', 'src.core.paths']}:\n"
        f"    importlib.import_module(name)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = python("-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_help_is_told_by_a_process_that_imports_nothing_heavy_and_makes_nothing(tmp_path):
    done = python("-m", "src.exp.run_all", "--help", f"hydra.run.dir={tmp_path / 'run'}", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout and "src.exp.run_all" in done.stdout
    assert not imported(done.stderr, *HEAVY, "hydra")
    assert not (tmp_path / "run").exists()


def test_a_wrong_key_is_told_before_anything_heavy_is_imported(tmp_path):
    run = f"hydra.run.dir={tmp_path / 'run'}"
    done = python("-m", "src.exp.run_all", "student.train.max_epoch=1", run, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 2, done.stderr
    assert "student.train.max_epoch is not known (did you mean student.train.max_epochs?)" in done.stderr
    assert not imported(done.stderr, *HEAVY)


def imported(profile: str, *names: str) -> set[str]:
    """Which of the modules stand in what `-X importtime` wrote."""
    assert re.search(r"^import time: .*\| +src\.exp\.program\.run$", profile, re.MULTILINE)
    return {name for name in names if re.search(rf"^import time: .*\| +{name}$", profile, re.MULTILINE)}
