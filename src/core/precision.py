"""Where to compute and in which number format, outside a training loop that sees to both itself.

Scores by which items are ranked are float32, whatever a model is trained or read in (`float32_scores`).
"""

import os
from contextlib import AbstractContextManager
from typing import Literal

import torch

NumberFormat = Literal["32-true", "bf16-mixed"]  # Lightning's names


def resolve_precision(precision: Literal["auto"] | NumberFormat) -> NumberFormat:
    """Returns Lightning's name of the precision to train in.

    Args:
        precision: "32-true", "bf16-mixed", or "auto": bf16 where the GPU or CPU has instructions for it. Asking the
            hardware rather than a stopwatch keeps the choice, and so the numbers, the same on the same machine.
            Measured: products of scores are 2.8 to 4 times as fast with AMX, 4 times with AMD's AVX512-BF16.
    """
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities()
        fast = has.get("avx512_bf16", False) or has.get("amx_bf16", False)
    return "bf16-mixed" if fast else "32-true"


def encoder_precision(precision: Literal["auto"] | NumberFormat) -> NumberFormat:
    """Returns Lightning's name of the precision of a student's encoder.

    On a CPU auto is float32: the layers are so narrow that conversions to bf16 cost more than they save.
    """
    return "32-true" if precision == "auto" and not torch.cuda.is_available() else resolve_precision(precision)


def logits_dtype(precision: Literal["auto"] | NumberFormat) -> torch.dtype:
    """Returns the dtype in which a student's states are multiplied with the item table in training."""
    return torch.bfloat16 if resolve_precision(precision) == "bf16-mixed" else torch.float32


def student_precision(precision: Literal["auto"] | NumberFormat) -> dict[str, str]:
    """Returns what manifests say of a student's number formats on this machine; `logits`: those of the loss."""
    logits = str(logits_dtype(precision)).removeprefix("torch.")
    return {"encoder": encoder_precision(precision), "logits": logits, "scores": "float32"}


def teacher_precision(precision: Literal["auto"] | NumberFormat) -> dict[str, str]:
    """Returns what manifests say of a teacher's number formats on this machine."""
    return {"language_model": resolve_precision(precision), "scores": "float32"}


def best_device() -> torch.device:
    """Returns the GPU where there is one, of several processes that torchrun has started each its own, else the CPU:
    where Lightning trains, too.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if "LOCAL_RANK" in os.environ else torch.device("cuda")


def autocast(precision: NumberFormat, device: torch.device) -> AbstractContextManager:
    """Returns the context that computes as `precision` (resolved) says."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")


def float32_scores(device: torch.device) -> AbstractContextManager:
    """Returns the context in which scores are made, autocast off whatever is on around it.

    bf16 has eight bits: scores of neighbours in the ranking would become ties.
    """
    return torch.autocast(device.type, enabled=False)
