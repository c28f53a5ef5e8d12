import itertools

import pytest
import torch

from src.core import precision
from src.core.precision import autocast, best_device, encoder_precision, logits_dtype, resolve_precision


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


@pytest.mark.parametrize(("speedup", "expected"), [(1.6, torch.bfloat16), (1.4, torch.float32)])
def test_auto_measures_the_scores_on_a_cpu_and_leaves_the_encoder_in_float32(monkeypatch, speedup, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "_bf16_speedup", lambda: speedup)
    assert logits_dtype("auto") == expected
    assert encoder_precision("auto") == "32-true"


def test_named_precisions_hold_for_scores_and_encoder():
    assert logits_dtype("bf16-mixed") == torch.bfloat16 and encoder_precision("bf16-mixed") == "bf16-mixed"
    assert logits_dtype("32-true") == torch.float32 and encoder_precision("32-true") == "32-true"


def test_the_speedup_is_the_ratio_of_the_best_times(monkeypatch):
    noise = itertools.cycle([7.0, 1.0, 50.0])
    monkeypatch.setattr(precision, "_seconds", lambda left, _: next(noise) * (3 if left.dtype == torch.float32 else 2))
    assert precision._bf16_speedup() == 1.5


@pytest.mark.parametrize(("name", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_products_are_computed_as_the_precision_says(name, dtype):
    with autocast(name, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
