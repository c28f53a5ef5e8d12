"""Adapters by themselves in a file, in PEFT's layout and under its names, without the language model they belong to."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..core.errors import UserError
from .moe_lora_model import MoELoRALinear, adapters_of

SAMPLE = 4096  # weights of each layer by which a language model is known again


def save_adapters(model: nn.Module, path: Path) -> None:
    """Writes the adapters of `model` to a safetensors file.

    Tensors are named as in PEFT's `adapter_model.safetensors`: `base_model.model.<layer>.lora_A.weight [r, in]` and
    `….lora_B.weight [out, r]`. Under uniform gates they are PEFT's LoRA of the same r and `lora_alpha`. The header says
    what they were trained with: r, num_experts, alpha and a fingerprint of the layers around which they stand.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in _tensors(model).items()}
    save_file(tensors, path, metadata=_facts(model))


def load_adapters(model: nn.Module, path: Path) -> None:
    """Puts the adapters of a file into `model`, which has adapters already.

    Raises:
        UserError: The file holds no adapters, or those of another language model, other layers or another shape.
    """
    try:
        with safe_open(path, framework="pt") as file:
            there = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no file of adapters ({error}): give one that `save_adapters` wrote.") from None
    here, places = _facts(model), _tensors(model)
    unlike = [
        f"{key} is {there.get(key, 'not told')} there and {value} here"
        for key, value in here.items()
        if there.get(key) != value
    ]
    if unlike or {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in places.items()}:
        reason = "; ".join(unlike) or "the tensors are others"
        raise UserError(
            f"The adapters in {path} belong to another language model or are of another shape ({reason}): load the "
            "model that they were trained on, with the same teacher.lora, target_modules and quantization."
        )
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(tensors[name])


def _tensors(model: nn.Module) -> dict[str, nn.Parameter]:
    return {
        f"base_model.model.{name}.{part}.weight": getattr(adapter, part)
        for name, adapter in adapters_of(model).items()
        for part in ("lora_A", "lora_B")
    }


def _facts(model: nn.Module) -> dict[str, str]:
    """Returns what gives the adapters of `model` their meaning; all of them share one rank, E and alpha."""
    adapters = adapters_of(model)
    any_of_them = next(iter(adapters.values()))
    r, rank_per_expert = len(any_of_them.lora_A), any_of_them.rank_per_expert
    return {
        "r": str(r),
        "num_experts": str(r // rank_per_expert),
        "alpha": f"{any_of_them.scaling * rank_per_expert:g}",
        "base_model": _fingerprint(adapters),
    }


def _fingerprint(adapters: dict[str, MoELoRALinear]) -> str:
    """Some weights of each adapted layer, hashed: the same in float32 and bf16, another after fine-tuning."""
    digest = hashlib.sha256()
    for adapter in adapters.values():
        weights: Tensor = adapter.base_layer.weight.detach().flatten()[:SAMPLE]
        rounded = weights.bfloat16().view(torch.int16) if weights.is_floating_point() else weights
        digest.update(rounded.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
