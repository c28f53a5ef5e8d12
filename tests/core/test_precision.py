import time

import pytest
import torch

from src.core import precision
from src.core.precision import (
    autocast,
    best_device,
    encoder_precision,
    float32_scores,
    logits_dtype,
    resolve_precision,
    student_precision,
    teacher_precision,
)


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed"])
def test_a_named_precision_stays(name):
    assert resolve_precision(name) == name


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": True}, "bf16-mixed"), ({"avx2": True}, "32-true")],
)
def test_auto_asks_the_cpu_where_there_is_no_gpu(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto") == expected
    assert best_device() == torch.device("cpu")


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_asks_the_gpu_where_there_is_one(monkeypatch, fast, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast or including_emulation)
    assert resolve_precision("auto") == expected
    assert precision.best_device() == torch.device("cuda")


@pytest.mark.parametrize(("has", "logits"), [("amx_bf16", "bfloat16"), ("avx2", "float32")])
def test_auto_leaves_the_encoder_in_float32_on_a_cpu(monkeypatch, has, logits):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {has: True})
    assert student_precision("auto") == {"encoder": "32-true", "logits": logits, "scores": "float32"}
    assert logits_dtype("auto") == getattr(torch, logits)


def test_no_stopwatch_decides(monkeypatch):
    def clock() -> float:
        raise AssertionError("the time was asked for")

    for name in ("perf_counter", "time", "monotonic", "process_time"):
        monkeypatch.setattr(time, name, clock)
    assert logits_dtype("auto") == logits_dtype("auto")


def test_named_precisions_hold_for_scores_and_encoder():
    assert logits_dtype("bf16-mixed") == torch.bfloat16 and encoder_precision("bf16-mixed") == "bf16-mixed"
    assert logits_dtype("32-true") == torch.float32 and encoder_precision("32-true") == "32-true"


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed"])
def test_manifests_tell_the_format_that_was_computed_in(name):
    logits = "bfloat16" if name == "bf16-mixed" else "float32"
    assert student_precision(name) == {"encoder": name, "logits": logits, "scores": "float32"}
    assert teacher_precision(name) == {"language_model": name, "scores": "float32"}


@pytest.mark.parametrize(("name", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_products_are_computed_as_the_precision_says(name, dtype):
    with autocast(name, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_scores_are_float32_within_whatever_is_on_around_them():
    with autocast("bf16-mixed", torch.device("cpu")), float32_scores(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_processes_that_torchrun_has_started_have_a_gpu_each(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert best_device() == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert best_device() == torch.device("cuda", 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_device() == torch.device("cpu")
