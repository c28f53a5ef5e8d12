import os
import subprocess
import sys

import pytest
import torch

from src.core import git_info as module
from src.core.git_info import LIBRARIES, environment, git_info


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_a_clean_checkout_tells_its_commit(checkout):
    folder, commit = checkout
    assert git_info(folder) == {"commit": commit, "dirty": False}


def test_a_file_that_is_not_committed_makes_it_dirty(checkout):
    folder, commit = checkout
    (folder / "new").touch()
    assert git_info(folder) == {"commit": commit, "dirty": True}


def test_asking_leaves_the_index_as_it_is(checkout):
    folder, _ = checkout
    (folder / "file").write_text("a")
    subprocess.run(["git", "-C", str(folder), "add", "file"], check=True)
    os.utime(folder / "file", (1, 1))  # `git status` alone would note that in the index, with a lock of it
    before = (folder / ".git" / "index").read_bytes()
    assert git_info(folder)["dirty"]
    assert (folder / ".git" / "index").read_bytes() == before


def test_outside_a_checkout_both_are_unknown(tmp_path):
    assert git_info(tmp_path) == {"commit": None, "dirty": None}


def test_an_installed_package_says_nothing_of_the_checkout_it_is_started_in(checkout, monkeypatch):
    monkeypatch.setattr(module, "IN_CHECKOUT", False)
    assert git_info(checkout[0]) == {"commit": None, "dirty": None}


def test_without_git_both_are_unknown(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert git_info(checkout[0]) == {"commit": None, "dirty": None}


def test_the_environment_names_code_libraries_and_machine(monkeypatch):
    monkeypatch.setattr(module, "git_info", lambda: {"commit": "c0ffee", "dirty": False})
    found = environment()
    assert found["git"] == {"commit": "c0ffee", "dirty": False}
    assert set(found["libraries"]) == set(LIBRARIES) and all(found["libraries"].values())
    assert found["machine"]["cpus"] >= 1 and found["machine"]["platform"]


def test_a_library_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr("src.core.git_info.LIBRARIES", ("torch", "no-such-library"))
    found = environment()["libraries"]
    assert found["torch"] and found["no-such-library"] is None


def test_the_gpus_are_those_of_pytorch_which_is_not_imported_to_ask(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"GPU {place}")
    assert environment()["machine"]["gpus"] == ["GPU 0", "GPU 1"]
    monkeypatch.delitem(sys.modules, "torch")
    assert environment()["machine"]["gpus"] is None
    assert "torch" not in sys.modules
