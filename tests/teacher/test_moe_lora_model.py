import pytest
import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.teacher.moe_lora_model import GateBinding, MoELoRALinear, adapters_of, inject_adapters
from tests.golden import load_golden
from tests.teacher.merging import merged

# fmt: off
GOLDEN = [
    (seed, config)
    for seed, configs in {
        0: ["r8_E4_a32_softmax", "r8_E2_a16_softmax", "r12_E3_a24_softmax", "r8_E1_a16_ones", "r8_E1_a16_raw"],
        1: ["r8_E4_a32_softmax_nobias", "r8_E2_a16_raw", "r12_E3_a24_onehot_nobias", "r8_E1_a16_ones_nobias"],
        2: ["r8_E4_a32_raw", "r8_E2_a16_softmax", "r12_E3_a24_raw", "r8_E1_a16_softmax"],
    }.items()
    for config in configs
]
# fmt: on


def layer_of(weight: Tensor, bias: Tensor | None, lora_A: Tensor, lora_B: Tensor, num_experts: int, alpha: float):
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(weight.dtype)
    linear.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    layer = MoELoRALinear(linear, len(lora_A), num_experts, alpha, 0.0, GateBinding()).to(lora_A.dtype)
    layer.base_layer.to(weight.dtype)
    layer.lora_A.data, layer.lora_B.data = lora_A.clone(), lora_B.clone()
    return layer


def golden_layer(seed: int, config: str, dtype: torch.dtype, base_dtype: torch.dtype | None = None):
    tensors, hparams = load_golden(f"case1_moelora_linear_seed{seed}")
    given = {name.removeprefix(f"{config}/"): value for name, value in tensors.items() if name.startswith(f"{config}/")}
    base = base_dtype or dtype
    bias = given["bias"].to(base) if "bias" in given else None
    settings = hparams["configs"][config]
    layer = layer_of(
        given["weight"].to(base), bias, given["lora_A"].to(dtype), given["lora_B"].to(dtype), settings["E"],
        settings["lora_alpha"],
    )  # fmt: skip
    assert layer.scaling == settings["scaling"]
    return layer, given


def random_layer(r: int = 6, num_experts: int = 3, alpha: float = 5.0, **kwargs):
    draw = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    layer = layer_of(normal(7, 4), normal(7), normal(r, 4), normal(7, r), num_experts, alpha, **kwargs)
    return layer, normal(2, 5, 4), normal


def literal_sum(layer: MoELoRALinear, x: Tensor, gates: Tensor, r: int, num_experts: int, alpha: float) -> Tensor:
    """Token by token and expert by expert; `gates [B, T, E]`."""
    y = torch.empty(*x.shape[:2], len(layer.lora_B), dtype=x.dtype)
    width = r // num_experts
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            y[b, t] = layer.base_layer.weight @ x[b, t] + layer.base_layer.bias
            for e in range(num_experts):
                block = slice(e * width, (e + 1) * width)
                update = layer.lora_B[:, block] @ (layer.lora_A[block] @ x[b, t])
                y[b, t] += alpha / width * gates[b, t, e] * update
    return y.detach()


@pytest.mark.parametrize(("seed", "config"), GOLDEN)
@pytest.mark.parametrize(
    ("variant", "dtype", "tolerance"), [("f32", torch.float32, 1e-5), ("f64", torch.float64, 1e-12)]
)
def test_values_and_gradients_are_the_reference_codes(seed, config, variant, dtype, tolerance):
    layer, given = golden_layer(seed, config, dtype)
    x, gates = (given[name].to(dtype).requires_grad_() for name in ("x", "gates"))
    with layer.binding.bind(gates):
        y = layer(x)
    (y * given["c"].to(dtype)).sum().backward()
    computed = {
        "y": y,
        "grad_x": x.grad,
        "grad_gates": gates.grad,
        "grad_lora_A": layer.lora_A.grad,
        "grad_lora_B": layer.lora_B.grad,
    }
    for name, value in computed.items():
        expected = given[f"{variant}/{name}"]
        torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("seed", "config"), [(0, "r8_E4_a32_softmax"), (1, "r8_E4_a32_softmax_nobias"), (2, "r8_E4_a32_raw")]
)
def test_a_bfloat16_base_keeps_adapters_in_float32(seed, config):
    layer, given = golden_layer(seed, config, torch.float32, torch.bfloat16)
    with layer.binding.bind(given["gates"]):
        y = layer(given["x"].bfloat16())
    expected = given["bf16base/y"]
    assert y.dtype == torch.bfloat16
    scale = float(expected.float().abs().max())
    torch.testing.assert_close(y, expected, rtol=2**-7, atol=2**-7 * scale)  # 2 units in the last place


def test_autocast_computes_the_same_in_bfloat16():
    layer, given = golden_layer(0, "r8_E4_a32_softmax", torch.float32)
    gates = given["gates"].clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), layer.binding.bind(gates):
        y = layer(given["x"])
    (y.float() * given["c"]).sum().backward()
    computed = {"y": y.float(), "grad_gates": gates.grad, "grad_lora_A": layer.lora_A.grad}
    for name, value in computed.items():
        expected = given[f"f32/{name}"]
        torch.testing.assert_close(value, expected, rtol=0, atol=0.03 * float(expected.abs().max()))


@pytest.mark.parametrize(("r", "num_experts", "alpha"), [(6, 3, 5.0), (6, 2, 5.0), (6, 6, 32.0), (6, 1, 1.0)])
def test_one_product_equals_the_literal_sum_over_experts(r, num_experts, alpha):
    layer, x, normal = random_layer(r, num_experts, alpha)
    gates = normal(2, num_experts)
    with layer.binding.bind(gates):
        y = layer(x)
    per_token = gates.unsqueeze(1).expand(2, 5, num_experts)
    torch.testing.assert_close(y, literal_sum(layer, x, per_token, r, num_experts, alpha), rtol=1e-12, atol=1e-12)


def test_gates_may_differ_from_token_to_token():
    layer, x, normal = random_layer()
    gates = normal(2, 5, 3)
    with layer.binding.bind(gates):
        y = layer(x)
    torch.testing.assert_close(y, literal_sum(layer, x, gates, 6, 3, 5.0), rtol=1e-12, atol=1e-12)


def test_uniform_gates_are_plain_lora_with_alpha_over_r():
    layer, x, _ = random_layer(r=6, num_experts=3, alpha=5.0)
    with layer.binding.bind(torch.full((2, 3), 1 / 3, dtype=torch.float64)):
        y = layer(x)
    plain = layer.base_layer(x) + 5.0 / 6 * x @ layer.lora_A.T @ layer.lora_B.T  # 1/E of alpha / (r/E)
    torch.testing.assert_close(y, plain, rtol=1e-12, atol=1e-12)


def test_a_fresh_adapter_changes_nothing_and_only_its_own_matrices_train():
    linear = nn.Linear(4, 7)
    layer = MoELoRALinear(linear, 6, 3, 5.0, 0.0, GateBinding())
    x = torch.randn(2, 5, 4)
    with layer.binding.bind(torch.rand(2, 3)):
        y = layer(x)
    assert torch.equal(y, linear(x))
    assert {name for name, p in layer.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}
    assert layer.lora_A.abs().min() > 0  # were both zero, neither would ever learn


def test_dropout_rests_in_evaluation_and_leaves_the_base_alone():
    linear = nn.Linear(4, 7)
    layer = MoELoRALinear(linear, 6, 3, 5.0, 0.9, GateBinding())
    nn.init.normal_(layer.lora_B)
    x = torch.randn(2, 5, 4)
    with layer.binding.bind(torch.rand(2, 3)):
        assert torch.equal(layer.eval()(x), layer(x))
        assert not torch.equal(layer.train()(x), layer.eval()(x))
        layer.train().dropout.p = 1.0
        torch.testing.assert_close(layer(x), linear(x))


def test_without_dropout_the_backward_pass_keeps_the_input_itself_and_rank_r_products():
    linear = nn.Linear(64, 64)
    layer = MoELoRALinear(linear, 6, 3, 5.0, 0.0, GateBinding()).train()
    x, gates = torch.randn(2, 5, 64, requires_grad=True), torch.rand(2, 3, requires_grad=True)
    kept = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with layer.binding.bind(gates), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x)
    parameters = {p.data_ptr() for p in layer.parameters()}
    beyond = {pointer: size for pointer, size in kept.items() if pointer not in parameters | {x.data_ptr()}}
    assert x.data_ptr() in kept
    # A x before and after the gates, the gates, lora_B turned
    assert sum(beyond.values()) <= 4 * (2 * 2 * 5 * 6 + 2 * 6 + 6 * 64)


def test_no_gradient_of_a_base_weight_is_computed():
    layer, x, normal = random_layer()
    with layer.binding.bind(normal(2, 3)):
        layer(x.requires_grad_()).sum().backward()
    assert layer.base_layer.weight.grad is None
    assert layer.base_layer.bias.grad is None
    assert x.grad is not None


class PackedLinear(nn.Linear):
    """A base layer that keeps its weights in another form than its output's, as 4-bit layers do."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False)
        self.weight = nn.Parameter((weight * 8 + 128).to(torch.uint8), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, (self.weight.to(x.dtype) - 128) / 8)


def test_a_base_in_another_form_is_asked_for_its_output_alone():
    unpacked = torch.tensor([[1.0, -2.0], [0.5, 3.0], [0.0, 0.25]])
    model = nn.ModuleDict({"q": PackedLinear(unpacked)})
    binding = inject_adapters(model, ["q"], 2, 2, 4.0, 0.0)
    nn.init.normal_(model["q"].lora_B)
    x, gates = torch.randn(2, 5, 2, requires_grad=True), torch.rand(2, 2)
    with binding.bind(gates):
        y = model["q"](x)
    y.sum().backward()
    per_token = 4.0 * gates.unsqueeze(1)  # alpha / 1
    expected = x @ unpacked.T + ((x @ model["q"].lora_A.T) * per_token) @ model["q"].lora_B.T
    torch.testing.assert_close(y, expected)
    assert model["q"].lora_A.grad is not None


# --- merged weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_merged_weights_give_what_the_adapters_gave_for_those_gates(dtype, tolerance):
    torch.manual_seed(0)
    model = nn.ModuleDict({"a": nn.ModuleDict({"q": nn.Linear(6, 5), "up": nn.Linear(6, 4, bias=False)})}).to(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    binding = inject_adapters(model, "all-linear", 6, 3, 5.0, 0.0)
    model.to(dtype)
    for adapter in adapters_of(model).values():
        nn.init.normal_(adapter.lora_B)
    x, gates = torch.randn(2, 5, 6, dtype=dtype), torch.tensor([0.2, -0.5, 1.3], dtype=dtype)
    with binding.bind(gates.unsqueeze(0)):
        expected = {name: layer(x) for name, layer in model["a"].items()}
    plain = merged(model, gates)
    assert adapters_of(plain) == {}
    assert plain.state_dict().keys() == before.keys()
    for name, layer in plain["a"].items():
        torch.testing.assert_close(layer(x), expected[name], rtol=tolerance, atol=tolerance)
        assert not torch.equal(layer.weight, before[f"a.{name}.weight"])


# --- scopes ------------------------------------------------------------------------------------------------------


def test_a_layer_outside_any_scope_raises():
    layer, x, normal = random_layer()
    with pytest.raises(RuntimeError, match="outside"):
        layer(x)
    with layer.binding.bind(normal(2, 3)):
        layer(x)
    with pytest.raises(RuntimeError, match="outside"):
        layer(x)


def test_nested_scopes_restore_even_after_an_error():
    binding = GateBinding()
    outer, inner = torch.rand(2, 3), torch.rand(4, 1, 3)
    with binding.bind(outer):
        with pytest.raises(ZeroDivisionError), binding.bind(inner):
            assert binding.gates is inner
            raise ZeroDivisionError
        assert torch.equal(binding.gates, outer.unsqueeze(1))
    with pytest.raises(RuntimeError):
        _ = binding.gates


# --- injection ---------------------------------------------------------------------------------------------------


def two_blocks() -> nn.Module:
    def block() -> nn.ModuleDict:
        return nn.ModuleDict({"q_proj": nn.Linear(4, 4), "up": nn.Linear(4, 8), "norm": nn.LayerNorm(4)})

    return nn.ModuleDict({"a": block(), "b": block()})


def inject(model: nn.Module, target_modules: str | list[str], r: int = 4, num_experts: int = 2) -> GateBinding:
    return inject_adapters(model, target_modules, r, num_experts, 8.0, 0.0)


def adapted(model: nn.Module) -> list[str]:
    return list(adapters_of(model))


def test_only_the_named_layers_are_wrapped():
    model = two_blocks()
    inject(model, ["q_proj"])
    assert adapted(model) == ["a.q_proj", "b.q_proj"]


def test_all_linear_means_every_linear_layer():
    model = two_blocks()
    inject(model, "all-linear")
    assert adapted(model) == ["a.q_proj", "a.up", "b.q_proj", "b.up"]


def test_base_weights_are_frozen_and_stay_bit_equal_while_adapters_train():
    model = two_blocks()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    binding = inject(model, "all-linear")
    trained = [p for p in model.parameters() if p.requires_grad]
    assert {name.rpartition(".")[2] for name, p in model.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(3):
        with binding.bind(torch.tensor([[0.3, 0.7]])):
            loss = model["b"]["up"](model["a"]["q_proj"](torch.ones(1, 2, 4))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model["a"]["q_proj"].lora_B.abs().max() > 0


def test_adapters_are_made_where_their_layers_lie():
    model = two_blocks().to("meta")
    inject(model, "all-linear")
    assert all(p.device.type == "meta" for p in model.parameters())


def test_two_models_side_by_side_do_not_share_gates():
    first, second = two_blocks(), two_blocks()
    of_first, of_second = inject(first, "all-linear"), inject(second, "all-linear")
    x, gates = torch.randn(1, 2, 4), torch.tensor([[0.25, 0.75]])
    with of_first.bind(gates):
        first["a"]["up"](x)
        with pytest.raises(RuntimeError, match="outside"):
            second["a"]["up"](x)
        with of_second.bind(gates.flip(1)):
            assert torch.equal(first["a"]["up"].binding.gates, gates.unsqueeze(1))


def test_a_rank_that_the_experts_cannot_share_is_refused():
    model = two_blocks()
    with pytest.raises(UserError, match=r"r=10 is not divisible by teacher.lora.num_experts=4"):
        inject(model, "all-linear", r=10, num_experts=4)
    assert adapted(model) == []


def test_unknown_layer_names_are_told_with_those_there():
    model = two_blocks()
    with pytest.raises(UserError, match=r"no linear layer named k_proj, norm .* it has: q_proj, up"):
        inject(model, ["q_proj", "norm", "k_proj"])
    assert adapted(model) == []


def test_a_layer_that_reads_all_examples_in_one_row_is_refused():
    """As OPT's feed-forward layers do: an example's gates would fall on others' tokens, or on all."""
    layer, x, _ = random_layer()
    with layer.binding.bind(torch.rand(2, 3)), pytest.raises(UserError, match=r"from 4 to 7 features .*target_modules"):
        layer(x.flatten(0, 1))
    with layer.binding.disabled():
        assert layer(x.flatten(0, 1)).shape == (10, 7)
