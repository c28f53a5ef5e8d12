import json
import subprocess
import sys
from argparse import Namespace

import pytest
import torch
from transformers import GemmaConfig, LlamaConfig

from benchmarks import adapted, gpu
from benchmarks.adapted import random_language_model, with_adapters
from benchmarks.side_by_side import markdown
from benchmarks.teacher_shapes import (
    GEMMA_2B,
    SHAPES,
    SMOLLM2_135M,
    TASKS,
    bytes_of,
    flop_of,
    linear_parameters,
    why_left_out,
)
from benchmarks.work import Work, data_sheet_peak
from benchmarks.workers.gpu_parity import compared, walks
from src.core.paths import ROOT
from src.evaluation.ranking import Evaluation, Lists

GROUPED = LlamaConfig(
    vocab_size=16, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2,
)  # fmt: skip
WIDE_HEADS = GemmaConfig(
    vocab_size=16, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=1, head_dim=8,
)  # fmt: skip
GIB = 2**30


@pytest.mark.parametrize("config", [GROUPED, WIDE_HEADS], ids=["Llama", "Gemma"])
@pytest.mark.parametrize("task", TASKS)
def test_the_arithmetic_is_every_product_that_runs(config, task, monkeypatch):
    monkeypatch.setattr(adapted, "best_device", lambda: torch.device("cpu"))
    forward = with_adapters(random_language_model(config), 2, 8, checkpointing=task == "recomputing")
    with Work() as work:
        states = forward()
        if task != "reading":
            states.sum().backward()
    assert sum(work.done.values()) == flop_of(config, task, 2, 8)


def test_the_arithmetic_of_one_block_by_hand():
    one = LlamaConfig(
        vocab_size=16, hidden_size=4, intermediate_size=6, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    linear = 4 * 4 + 4 * 2 + 4 * 2 + 4 * 4 + 3 * 4 * 6  # q, k, v, o; gate, up, down
    adapters = 8 * ((4 + 4) + (4 + 2) + (4 + 2) + (4 + 4) + 3 * (4 + 6))  # r (in + out) of each
    n, attention = 2 * 3, 2 * (2 * (2 * 3 * 3 * 4))  # scores, and their sum of values: B T T d, twice for mul and add
    forward = 2 * n * linear + 2 * n * adapters + attention
    backward = 2 * n * linear + 4 * n * adapters + 5 * attention // 2
    last_product = 2 * n * 8 * 4  # of the last adapter, whose result nobody needs again
    assert linear_parameters(one) == linear == 120
    assert flop_of(one, "reading", 2, 3) == forward == 12 * 120 + 12 * 464 + 288
    assert flop_of(one, "storing", 2, 3) == forward + backward
    assert flop_of(one, "recomputing", 2, 3) == 2 * forward + backward - last_product


def test_the_shapes_are_as_large_as_they_are_called():
    sizes = {"SmolLM2 135M": 134_515_008, "Gemma 2B": 2_506_172_416, "Llama 2 7B": 6_607_343_616}
    for name, config in SHAPES.items():
        linear = config.num_hidden_layers * linear_parameters(config)
        norms = (2 * config.num_hidden_layers + 1) * config.hidden_size
        assert linear + norms + config.vocab_size * config.hidden_size == sizes[name]
    assert GEMMA_2B.num_attention_heads * GEMMA_2B.head_dim == GEMMA_2B.hidden_size
    assert SMOLLM2_135M.head_dim == 64


def test_what_fits_is_tried_and_what_does_not_says_why():
    llama = SHAPES["Llama 2 7B"]
    weights, adapters = 2 * 6_607_343_616, 19_988_480  # of bf16; numbers that learn, four times float32
    needed = bytes_of(llama, "recomputing", 16, 8, 512)
    assert weights + 16 * adapters < needed < weights + 16 * adapters + 3 * GIB
    assert needed + 19 * GIB < bytes_of(llama, "storing", 16, 8, 512) < needed + 20 * GIB  # 31 blocks of 0.63
    enough = round(1.05 * needed) + GIB  # with the allocator's gaps and the GPU's context
    assert why_left_out(llama, "recomputing", 16, 8, 512, enough) is None
    assert why_left_out(llama, "recomputing", 16, 8, 512, None) is None
    told = why_left_out(llama, "recomputing", 16, 8, 512, enough - 1)
    assert told == f"left out: {enough / GIB:.1f} GiB needed, {(enough - 1) / GIB:.1f} free"
    assert why_left_out(llama, "storing", 16, 8, 512, enough).startswith("left out: ")


def test_four_bits_need_less_but_are_made_of_sixteen():
    llama = SHAPES["Llama 2 7B"]
    saved = bytes_of(llama, "reading", 16, 8, 512) - bytes_of(llama, "reading", 4, 8, 512)
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11_008)
    assert saved == round(linear * (2 - 0.5 - 1 / 64 - 1 / 4096)) - 2 * 4096 * 11_008  # one layer as it computes
    weights = 2 * 6_607_343_616
    assert bytes_of(llama, "reading", 4, 8, 512) < weights
    assert why_left_out(llama, "reading", 4, 8, 512, weights) is not None
    assert why_left_out(llama, "reading", 4, 8, 512, round(1.05 * weights) + GIB) is None


def test_devices_are_known_by_the_names_they_give_themselves():
    assert data_sheet_peak("NVIDIA A100-SXM4-40GB") == 312e12
    assert data_sheet_peak("NVIDIA H100 80GB HBM3") == 989.4e12
    assert data_sheet_peak("NVIDIA H100 PCIe") == 756e12
    assert data_sheet_peak("NVIDIA L40S") == 362e12
    assert data_sheet_peak("NVIDIA GeForce RTX 4090") == 165.2e12
    for other in ("NVIDIA A10G", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "Tesla T4"):
        assert data_sheet_peak(other) is None


def test_ranks_are_compared_user_by_user():
    def ranked(ranks: list[int], lists: list[list[int]], ndcg: float) -> Evaluation:
        users = torch.arange(4)
        told = Lists(torch.tensor(lists), torch.zeros(4), torch.zeros(4))
        return Evaluation(users, users, users, torch.tensor(ranks), {"NDCG@10": ndcg}, 1.0, told)

    reference = ranked([1, 2, 3, 4], [[1, 2]] * 4, 0.5)
    other = ranked([1, 2, 8, 3], [[1, 2], [2, 1], [1, 2], [1, 2]], 0.25)
    assert compared(other, reference) == {
        "NDCG@10": 0.25,
        "difference": -0.25,
        "ranks_moved": 0.5,
        "farthest": 5,
        "other_lists": 0.25,
    }


def test_the_log_to_learn_from_goes_on_in_small_steps_mostly():
    log = walks(500, 8, 100).view(500, 8)
    assert (log.min(), log.max()) == (1, 100)
    near = ((log.diff(dim=1) % 100 >= 1) & (log.diff(dim=1) % 100 <= 3)).double().mean()
    assert 0.73 < near < 0.82  # three times out of four, and by chance


def test_a_row_that_fails_or_cannot_fit_leaves_the_others(monkeypatch):
    def measured(module, settings, threads, repeats):
        if settings["task"] == "storing":
            raise RuntimeError("gpu_teacher ended early:\nTraceback\ntorch.OutOfMemoryError: CUDA out of memory.\n")
        return {}, [{"seconds": [0.5, 2.0, 1.0], "peak": 3 * GIB}]

    monkeypatch.setattr(gpu, "several_afresh", measured)
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    device = {"gpu": "some", "free": 8 * GIB, "data_sheet": 1e12, "measured": {"bf16": 9e11}}
    arguments = Namespace(quick=False, batch=8, tokens=512, steps=3, threads=1, repeats=1)

    everything, table = gpu.teachers(arguments, device)

    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in table.splitlines()}
    share = flop_of(SMOLLM2_135M, "reading", 8, 512) / 1e12
    assert rows["SmolLM2 135M, bf16, reading"][:3] == ["1,000.0", "4,096", f"{share:,.2f}"]
    assert rows["SmolLM2 135M, bf16, reading"][3:5] == [f"{share:.0%}", "3.00"]
    assert rows["SmolLM2 135M, 4 bits, reading"][0] == "bitsandbytes is not installed"
    assert rows["SmolLM2 135M, bf16, training, all kept"][0] == "failed: torch.OutOfMemoryError: CUDA out of memory."
    assert rows["Llama 2 7B, bf16, reading"][0].startswith("left out: ")
    assert len(everything) == 5 * len(SHAPES)


@pytest.mark.slow
def test_the_quick_run_prints_its_tables_and_keeps_them(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--quick", "--threads", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert done.stdout == kept["table"] + "\n" and done.stdout.count("| :-- |") == 4
    assert "failed" not in done.stdout
    for row in kept["teachers"][:3]:
        assert row["measured"][0]["seconds"][0] > 0
    if not torch.cuda.is_available():
        assert kept["teachers"][3]["measured"] in ("no GPU", "bitsandbytes is not installed")
        assert "sasrec, GPU, TF32 | no GPU" in done.stdout and kept["device"]["gpu"] is None
    assert kept["parity"]["sasrec"][0]["CPU, float32"]["difference"] == 0


def test_without_a_gpu_the_whole_run_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="--quick"):
        gpu.main(Namespace(quick=False))


def test_the_device_is_told():
    device = {"gpu": "NVIDIA L4", "free": 22 * GIB, "measured": {"bf16": 9e13}, "data_sheet": 121e12}
    assert gpu.device_table(device) == markdown(
        ["device", ""],
        [
            ["device", "NVIDIA L4"],
            ["free memory, GiB", "22.00"],
            ["bf16 products, measured, TFLOP/s", "90.00"],
            ["bf16 by its data sheet, TFLOP/s", "121"],
        ],
    )
