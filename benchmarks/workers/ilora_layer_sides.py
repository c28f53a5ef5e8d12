"""One adapted linear layer three ways: ours, PEFT's LoRA, and iLoRA's formula with every expert's output written out.

Settings: `shapes` (`[in, out]` each), `batch`, `tokens`, `dtype` of the frozen weights, `r`, `num_experts`, `alpha`.
Tells each side's memory, then in each measurement the seconds of one forward and backward pass: every layer whole, and
its update alone, the frozen product replaced by a tensor that is there already. All sides run in turn in this process,
in PEFT's environment; adapters are float32, as PEFT makes them over bf16 weights, too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from src.teacher.moe_lora_model import GateBinding, MoELoRALinear
from src.training.memory import keep_freed_memory
from tests.memory import peak_bytes

from ..kept import kept_for_backward
from ..timing import Line, finish_on_device

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLOCK = time.perf_counter if DEVICE == "cuda" else time.process_time  # the CPU's own, whatever else it works on


class EveryExpertsOutput(nn.Module):
    """iLoRA's formula as its code has it: `W x + s * Σ_e g_e (B_e (A_e x))`, summed over a tensor `[B, T, E, out]`."""

    def __init__(self, base_layer: nn.Module, lora_A: Tensor, lora_B: Tensor, num_experts: int, scaling: float) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.lora_A, self.lora_B = nn.Parameter(lora_A.clone()), nn.Parameter(lora_B.clone())
        self.num_experts = num_experts
        self.scaling = scaling

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        a = F.linear(x.to(self.lora_A.dtype), self.lora_A).unflatten(-1, (self.num_experts, -1))  # [B, T, E, r/E]
        blocks = self.lora_B.T.reshape(self.num_experts, -1, len(self.lora_B))  # [E, r/E, out]
        experts = torch.einsum("btek,eko->bteo", a, blocks)
        y = self.base_layer(x)
        return (y + (experts * gates[:, None, :, None]).sum(2) * self.scaling).to(y.dtype)


class Given(nn.Module):
    """Stands for a frozen layer whose output is there already."""

    def __init__(self, y: Tensor) -> None:
        super().__init__()
        self.y = y

    def forward(self, x: Tensor) -> Tensor:
        return self.y


@dataclass
class Side:
    layer: nn.Module
    forward: Callable[[], Tensor]
    upstream: Tensor
    x: Tensor

    def step(self) -> None:
        self.forward().backward(self.upstream)
        self.layer.zero_grad()
        self.x.grad = None  # after the step, so that each begins and ends with the same memory

    def seconds(self) -> float:
        finish_on_device()
        start = CLOCK()
        self.step()
        finish_on_device()
        return CLOCK() - start

    def memory(self) -> dict[str, int]:
        """Bytes kept for the backward pass beyond the input, and at the peak of a step."""
        there = [*self.layer.parameters(), self.x, self.upstream]
        return {"kept": kept_for_backward(self.forward, there), "peak": peak_bytes(self.step)}


def sides_of(fan_in: int, fan_out: int, settings: dict, whole: bool) -> dict[str, Side]:
    """Returns the three sides over the same weights, adapters and inputs.

    Args:
        fan_in, fan_out, settings: The layer and what it reads.
        whole: With the frozen product, or the update alone.
    """
    torch.manual_seed(0)
    torch.set_default_device(DEVICE)
    dtype, r, num_experts = getattr(torch, settings["dtype"]), settings["r"], settings["num_experts"]
    size = (settings["batch"], settings["tokens"])
    linear = nn.Linear(fan_in, fan_out, bias=False, dtype=dtype).requires_grad_(False)
    x = torch.randn(*size, fan_in, dtype=dtype).requires_grad_()
    gates = torch.rand(size[0], num_experts).softmax(1).requires_grad_()
    upstream = torch.randn(*size, fan_out, dtype=dtype)

    peft = get_peft_model(
        nn.ModuleDict({"layer": linear}), LoraConfig(r=r, lora_alpha=settings["alpha"], target_modules=["layer"])
    ).base_model.model["layer"]
    lora_A, lora_B = peft.lora_A["default"].weight, peft.lora_B["default"].weight
    nn.init.normal_(lora_B, std=0.1)

    ours = MoELoRALinear(linear, r, num_experts, settings["alpha"], 0.0, GateBinding())
    ours.lora_A.data, ours.lora_B.data = lora_A.detach().clone(), lora_B.detach().clone()
    reference = EveryExpertsOutput(linear, lora_A.detach(), lora_B.detach(), num_experts, ours.scaling)

    def under_gates() -> Tensor:
        with ours.binding.bind(gates):
            return ours(x)

    forwards = {
        "ours": (ours, under_gates),
        "PEFT's LoRA": (peft, lambda: peft(x)),
        "reference formula": (reference, lambda: reference(x, gates)),
    }
    expected = under_gates().float()
    torch.testing.assert_close(
        reference(x, gates).float(), expected, rtol=0.02, atol=0.02 * float(expected.abs().max())
    )
    if not whole:
        for layer, _ in forwards.values():
            layer.base_layer = Given(torch.zeros(*size, fan_out, dtype=dtype))
    return {name: Side(layer, forward, upstream, x) for name, (layer, forward) in forwards.items()}


def main() -> None:
    keep_freed_memory()  # as every command of ours does
    line = Line()
    settings = line.settings
    cases = {
        f"{fan_in} → {fan_out}, {part}": sides_of(fan_in, fan_out, settings, part == "whole")
        for fan_in, fan_out in settings["shapes"]
        for part in ("whole", "update alone")
    }
    for sides in cases.values():
        for side in sides.values():
            side.step()  # warm
    memory = {case: {name: side.memory() for name, side in sides.items()} for case, sides in cases.items()}
    line.serve(
        {"memory": memory},
        lambda: {case: {name: side.seconds() for name, side in sides.items()} for case, sides in cases.items()},
    )


if __name__ == "__main__":
    main()
