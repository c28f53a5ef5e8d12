import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from src.core.errors import UserError
from src.teacher.adapter_files import load_adapters, save_adapters
from src.teacher.moe_lora_model import GateBinding, adapters_of, inject_adapters

GATES = torch.tensor([[0.25, 0.75]])


def adapted(
    *,
    seed: int = 0,
    width: int = 4,
    r: int = 4,
    num_experts: int = 2,
    alpha: float = 8.0,
    target: str | list = "all-linear",
) -> tuple[nn.Module, GateBinding]:
    """A model of two layers with random adapters over the base weights of `seed`."""
    torch.manual_seed(seed)
    model = nn.ModuleDict({"a": nn.ModuleDict({"q": nn.Linear(width, 4)}), "b": nn.ModuleDict({"up": nn.Linear(4, 3)})})
    binding = inject_adapters(model, target, r, num_experts, alpha, 0.0)
    torch.seed()
    for adapter in adapters_of(model).values():
        nn.init.normal_(adapter.lora_B)
    return model, binding


def answer(model: nn.Module, binding: GateBinding) -> Tensor:
    with binding.bind(GATES):
        return model["b"]["up"](model["a"]["q"](torch.ones(1, 2, 4)))


def test_a_fresh_model_with_saved_adapters_answers_as_the_trained_one(tmp_path):
    trained, fresh = adapted(), adapted()
    assert not torch.equal(answer(*trained), answer(*fresh))
    save_adapters(trained[0], tmp_path / "adapters.safetensors")
    load_adapters(fresh[0], tmp_path / "adapters.safetensors")
    assert torch.equal(answer(*trained), answer(*fresh))
    assert all(p.requires_grad for a in adapters_of(fresh[0]).values() for p in (a.lora_A, a.lora_B))


def test_the_file_has_pefts_names_and_the_adapters_alone(tmp_path):
    model, _ = adapted()
    save_adapters(model, tmp_path / "adapters.safetensors")
    with safe_open(tmp_path / "adapters.safetensors", framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        told = file.metadata()
    assert shapes == {
        "base_model.model.a.q.lora_A.weight": (4, 4),
        "base_model.model.a.q.lora_B.weight": (4, 4),
        "base_model.model.b.up.lora_A.weight": (4, 4),
        "base_model.model.b.up.lora_B.weight": (3, 4),
    }
    assert {key: told[key] for key in ("r", "num_experts", "alpha")} == {"r": "4", "num_experts": "2", "alpha": "8"}


def test_uniform_gates_are_pefts_lora_of_the_files_own_r_and_alpha(tmp_path):
    model, binding = adapted()
    save_adapters(model, tmp_path / "adapters.safetensors")
    tensors = load_file(tmp_path / "adapters.safetensors")
    x, layer = torch.randn(1, 3, 4), model["a"]["q"]
    a, b = (tensors[f"base_model.model.a.q.lora_{part}.weight"] for part in "AB")
    with binding.bind(torch.tensor([[0.5, 0.5]])):
        torch.testing.assert_close(layer(x), layer.base_layer(x) + 8 / 4 * (x @ a.T @ b.T))


def test_the_same_base_in_bfloat16_is_known_again(tmp_path):
    full, half = adapted()[0], adapted()[0]
    for adapter in adapters_of(half).values():
        adapter.base_layer.bfloat16()
    save_adapters(full, tmp_path / "adapters.safetensors")
    load_adapters(half, tmp_path / "adapters.safetensors")
    assert torch.equal(half["a"]["q"].lora_B, full["a"]["q"].lora_B)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"seed": 1}, "base_model is [0-9a-f]{16} there and [0-9a-f]{16} here"),
        ({"width": 5}, "base_model is"),
        ({"target": ["q"]}, "base_model is"),
        ({"r": 8, "num_experts": 4}, "r is 4 there and 8 here; num_experts is 2 there and 4 here"),
        ({"num_experts": 1}, r"\(num_experts is 2 there and 1 here\)"),
        ({"alpha": 16.0}, r"\(alpha is 8 there and 16 here\)"),
    ],
)
def test_adapters_of_another_model_or_shape_are_refused_in_one_sentence(tmp_path, other, reason):
    save_adapters(adapted()[0], tmp_path / "adapters.safetensors")
    model, _ = adapted(**other)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=f"adapters.safetensors belong to another .*{reason}") as caught:
        load_adapters(model, tmp_path / "adapters.safetensors")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_file_without_one_of_the_layers_is_refused(tmp_path):
    model, _ = adapted()
    save_adapters(model, tmp_path / "whole.safetensors")
    with safe_open(tmp_path / "whole.safetensors", framework="pt") as file:
        told = file.metadata()
    tensors = load_file(tmp_path / "whole.safetensors")
    tensors.popitem()
    save_file(tensors, tmp_path / "part.safetensors", metadata=told)
    with pytest.raises(UserError, match=r"part.safetensors belong .*the tensors are others"):
        load_adapters(model, tmp_path / "part.safetensors")


@pytest.mark.parametrize("content", [None, json.dumps({"no": "safetensors"})])
def test_something_else_than_adapters_is_refused(tmp_path, content):
    path = tmp_path / "adapters.safetensors"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"adapters.safetensors is no file of adapters"):
        load_adapters(adapted()[0], path)
    save_file({"weight": torch.ones(1)}, path)
    with pytest.raises(UserError, match="num_experts is not told there and 2 here"):
        load_adapters(adapted()[0], path)
