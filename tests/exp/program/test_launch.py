import sys

import pytest
import torch

from src.core.errors import UserError
from src.exp.program.launch import check_devices, start_over_processes


@pytest.fixture
def under_torchrun(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)


def gpus(number, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)


def test_torchrun_says_how_many_processes_there_are(under_torchrun, monkeypatch):
    gpus(0, monkeypatch)
    for devices in (1, 2):
        check_devices(devices)
    with pytest.raises(UserError, match=r"torchrun has started 2 processes on this machine and trainer\.devices=3"):
        check_devices(3)


def test_every_process_has_a_gpu_of_its_own_where_there_are_any(monkeypatch):
    gpus(0, monkeypatch)
    check_devices(2)
    gpus(2, monkeypatch)
    check_devices(2)
    with pytest.raises(UserError, match="3 processes need a GPU each, and this machine has 2"):
        check_devices(3)


def test_several_runs_of_one_command_line_are_torchruns(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["run_student_baseline", "-m", "seed=0,1"])
    with pytest.raises(UserError, match="start them by torchrun"):
        start_over_processes("src.exp.run_student_baseline", 2, tmp_path)
