"""The wheel as a stranger installs it: in an environment of its own, started from an empty folder."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import src
from src.core.paths import ROOT
from tests.worlds import tiny_logs, tiny_titles, write_raw_log

pytestmark = pytest.mark.slow


def ok(*command: str, **how) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A new virtual environment with the wheel; the packages that it needs are read from where the tests run."""
    folder = tmp_path_factory.mktemp("installed")
    quiet = ["--no-deps", "--no-index", "--disable-pip-version-check", "-q"]
    ok(sys.executable, "-m", "pip", "wheel", *quiet, "--no-build-isolation", "-w", str(folder), str(ROOT))
    venv.create(folder / "env", with_pip=False, symlinks=True)
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    (wheel,) = folder.glob("anyo-*.whl")
    python = str(folder / "env" / "bin" / "python")
    ok(sys.executable, "-m", "pip", "--python", python, "install", *quiet, str(wheel))
    (site / "needs.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env"


def test_nothing_but_anyo_is_installed(environment):
    site = next((environment / "lib").glob("python*/site-packages"))
    assert {path.name for path in site.iterdir()} == {"anyo", f"anyo-{src.__version__}.dist-info", "needs.pth"}
    assert (site / "anyo" / "conf" / "config.yaml").is_file()
    assert (site / "anyo" / "report" / "templates" / "report.html.jinja").is_file()
    page = {path.name for path in (site / "anyo" / "serve" / "http" / "page").iterdir()}
    assert {"index.html", "page.css", "page.js", "icon.svg"} <= page


def test_commands_work_from_an_empty_folder(environment, tmp_path):
    write_raw_log(tiny_logs(), tiny_titles(), tmp_path / "raw")
    (tmp_path / "empty").mkdir()
    anyo, here = str(environment / "bin" / "anyo"), {"cwd": tmp_path / "empty"}
    env = {**os.environ, "ANYO_DATA_DIR": str(tmp_path / "raw")}
    env.pop("PYTHONPATH", None)
    assert "run-prepare" in ok(anyo, **here)
    assert "anyo run-prepare [choice=option" in ok(anyo, "run-prepare", "--help", **here)
    ok(anyo, "run-prepare", "dataset=movielens", **here, env=env)
    assert list((tmp_path / "empty" / "data" / "processed" / "movielens").glob("*/manifest.json"))
    assert list((tmp_path / "empty" / "result").glob("result_*/config.yaml"))
    wrong = subprocess.run([anyo, "run-bake"], capture_output=True, text=True, **here)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_the_public_face_works_without_the_checkout(environment, tmp_path):
    write_raw_log(tiny_logs(), tiny_titles(), tmp_path / "raw")
    program = (
        "import anyo, sys; assert 'torch' not in sys.modules;"
        "d = anyo.load_dataset('dataset=movielens');"
        "print(d.num_users, d.num_items, anyo.__version__);"
        "import importlib.util; assert importlib.util.find_spec('src') is None"
    )
    env = {**os.environ, "ANYO_DATA_DIR": str(tmp_path / "raw")}
    env.pop("PYTHONPATH", None)
    printed = ok(str(environment / "bin" / "python"), "-c", program, cwd=tmp_path, env=env)
    assert printed.split() == ["12", "15", src.__version__]
