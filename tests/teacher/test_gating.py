from inspect import signature

import pytest
import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.exp.program.config import compose_settings
from src.teacher.choices import ROUTERS
from src.teacher.gating import OneExpert, PerLayerRouter, TopKRouter, create_router
from src.teacher.settings import settings_of_router
from tests.golden import load_golden

SETTINGS = {
    "dropout": {"dropout": 0.5},
    "top_k": {"top_k": 1},
    "top_k_paper": {"top_k": 1},
    "noisy": {"noise_std": 0.5},
    "noisy_mlp": {"noise_std": 0.5},
}
# The reference's classes: their name, their outputs' prefix, and our router with its settings.
GOLDEN = [
    ("Dense", "Dense", "linear", {}),
    ("Drop", "Drop", "dropout", {"dropout": 0.1}),
    ("MLP", "MLP", "mlp", {}),
    ("Noise0", "Noise0", "noisy", {"noise_std": 0.0}),
    ("MLPnoise0", "MLPnoise0", "noisy_mlp", {"noise_std": 0.0}),
    ("topK", "topK/k1", "top_k_paper", {"top_k": 1}),
    ("topK", "topK/k2", "top_k_paper", {"top_k": 2}),
]
PRECISIONS = [("f32", torch.float32, 1e-5), ("f64", torch.float64, 1e-12)]


def router_of(name: str, d_user: int = 8, num_experts: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return ROUTERS[name](d_user, num_experts, **SETTINGS.get(name, {}))


def fill(router: nn.Module, stored: list[Tensor]) -> None:
    """Copies stored tensors into the router's, both in the order in which a signal passes them."""
    ours = list(router.state_dict().values())
    assert [value.shape for value in ours] == [value.shape for value in stored]
    for value, theirs in zip(ours, stored, strict=True):
        value.copy_(theirs)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("variant", "dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("network", "outputs", "name", "settings"), GOLDEN)
def test_routers_equal_the_reference_codes(seed, variant, dtype, tolerance, network, outputs, name, settings):
    tensors, about = load_golden(f"case2_gating_seed{seed}")
    stored = {key: value for key, value in tensors.items() if key.startswith(f"{network}/param/")}
    router = ROUTERS[name](64, about["E"], **settings).to(dtype).eval()
    fill(router, [stored[key] for key in sorted(stored, key=lambda key: (key.rpartition(".")[0], "bias" in key))])
    x = tensors["x3"].to(dtype).requires_grad_()
    gates = router(x)
    (gates * tensors["c3"].to(dtype)).sum().backward()
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(gates, tensors[f"{outputs}/{variant}/out3"], **close)
    torch.testing.assert_close(x.grad, tensors[f"{outputs}/{variant}/grad_x3"], **close)
    torch.testing.assert_close(router(tensors["x2"].to(dtype)), tensors[f"{outputs}/{variant}/out2"], **close)


# --- the residual network ------------------------------------------------------------------------------------------


def golden_resnet(seed: int, dtype: torch.dtype) -> tuple[nn.Module, dict[str, Tensor]]:
    tensors, about = load_golden(f"case2_router_seed{seed}")
    router = ROUTERS["resnet"](about["input_len"], about["num_experts"]).to(dtype)
    state = {}
    for name in router.state_dict():
        state[name] = tensors[f"param/{their_name(name)}"]
    router.load_state_dict(state)
    return router, tensors


def their_name(ours: str) -> str:
    """Ours counts blocks from 0 to 8; theirs are three to a layer."""
    if ours.startswith("blocks."):
        _, block, part = ours.split(".", 2)
        return f"layer{int(block) // 3 + 1}.{int(block) % 3}.{part.replace('norm', 'bn')}"
    return ours.replace("out.", "gate.fc.").replace("conv.", "conv1.").replace("norm.", "bn1.")


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("variant", "dtype", "tolerance"), PRECISIONS)
def test_the_residual_network_equals_the_reference_codes(seed, variant, dtype, tolerance):
    router, tensors = golden_resnet(seed, dtype)
    router.eval()
    x = tensors["x"].to(dtype).requires_grad_()
    gates = router(x)
    (gates * tensors["c"].to(dtype)).sum().backward()
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(gates, tensors[f"eval/{variant}/out"], **close)
    torch.testing.assert_close(x.grad, tensors[f"eval/{variant}/grad_x"], **close)
    checked = 0
    for name, parameter in router.named_parameters():
        expected = tensors.get(f"eval/{variant}/grad_param/{their_name(name)}")
        if expected is not None:
            torch.testing.assert_close(parameter.grad, expected, rtol=tolerance, atol=10 * tolerance)
            checked += 1
    assert checked == 6


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("variant", "dtype", "tolerance"), PRECISIONS)
def test_in_training_the_residual_network_takes_the_batchs_statistics(seed, variant, dtype, tolerance):
    router, tensors = golden_resnet(seed, dtype)
    gates = router.train()(tensors["x"].to(dtype))
    torch.testing.assert_close(gates, tensors[f"train/{variant}/out"], rtol=tolerance, atol=tolerance)
    for name, buffer in router.named_buffers():
        expected = tensors[f"train/{variant}/buffers_after/{their_name(name)}"]
        torch.testing.assert_close(buffer, expected, rtol=tolerance, atol=tolerance)


# --- what every router promises ------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", list(ROUTERS))
@pytest.mark.parametrize("num_experts", [1, 2, 5])
def test_gates_are_not_negative_and_sum_to_one(name, num_experts, training):
    gates = router_of(name, num_experts=num_experts).train(training)(10 * torch.randn(6, 8))
    assert gates.shape == (6, num_experts)
    assert (gates >= 0).all()
    torch.testing.assert_close(gates.sum(1), torch.ones(6))


@pytest.mark.parametrize("name", list(ROUTERS))
def test_any_leading_dimensions_give_the_same_gates(name):
    router, users = router_of(name).eval(), torch.randn(3, 2, 8)
    torch.testing.assert_close(router(users), router(users.reshape(6, 8)).reshape(3, 2, 4))


@pytest.mark.parametrize("name", sorted(set(ROUTERS) - {"top_k", "top_k_paper"}))
def test_users_get_mixtures_of_their_own(name):
    gates = router_of(name).eval()(torch.randn(2, 8))
    assert not torch.allclose(gates[0], gates[1])


@pytest.mark.parametrize("name", ["dropout", "noisy", "noisy_mlp"])
def test_chance_has_a_part_in_training_alone(name):
    router, users = router_of(name), torch.randn(4, 8)
    assert not torch.equal(router.train()(users), router(users))
    assert torch.equal(router.eval()(users), router(users))


def test_the_k_best_experts_share_as_if_the_others_were_not_there():
    router = TopKRouter(2, 4, top_k=2)
    with torch.no_grad():
        router.linear.weight.copy_(torch.tensor([[1.0, 0], [3, 0], [2, 0], [0, 0]]))
    expected = torch.tensor([0, 3.0, 2.0, 0]).exp() / (torch.tensor([3.0, 2.0]).exp().sum())
    expected[0] = expected[3] = 0
    torch.testing.assert_close(router(torch.tensor([[1.0, 0]]))[0], expected)


@pytest.mark.parametrize(("name", "learns"), [("top_k", False), ("top_k_paper", False), ("linear", True)])
def test_a_single_chosen_expert_teaches_the_router_nothing(name, learns):
    router = router_of(name)
    (router(torch.randn(5, 8)) * torch.randn(4)).sum().backward()
    assert bool(router.linear.weight.grad.abs().max() > 1e-6) is learns


def test_layers_with_routers_of_their_own_have_their_gates_side_by_side():
    torch.manual_seed(0)
    routers, users = [ROUTERS["mlp"](8, 4) for _ in range(3)], torch.randn(6, 2, 8)
    gates = PerLayerRouter(routers)(users)
    assert gates.shape == (6, 2, 12)
    for layer, router in enumerate(routers):
        assert torch.equal(gates[..., 4 * layer : 4 * layer + 4], router(users))


def test_one_expert_is_the_same_for_everyone():
    assert torch.equal(OneExpert()(torch.randn(2, 3, 8)), torch.ones(2, 3, 1))


def test_an_unknown_router_is_refused_with_those_there():
    with pytest.raises(UserError, match=r"teacher.router.name=tree is not known: use one of linear, mlp"):
        ROUTERS["tree"]


@pytest.mark.parametrize("name", list(ROUTERS))
def test_a_router_is_made_from_its_own_settings(name):
    settings = compose_settings(f"teacher/router={name}").teacher.router
    router = create_router(settings, 8, 4)
    assert type(router) is ROUTERS[name]
    assert type(settings) is settings_of_router(name) is ROUTERS[name].Settings
    assert set(signature(ROUTERS[name]).parameters) - {"d_user", "num_experts"} == set(settings.plain()) - {"name"}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["teacher.router.name=top_k"], "teacher.router.top_k is missing: it must be a whole number above 0"),
        (["teacher.router.name=mlp", "teacher.router.noise_std=0.1"], "teacher.router.noise_std is not known"),
    ],
)
def test_settings_of_another_router_are_refused(overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        compose_settings(*overrides)


def test_more_experts_in_use_than_there_are_is_refused():
    with pytest.raises(UserError, match=r"teacher.router.top_k=5 is more than teacher.lora.num_experts=4"):
        TopKRouter(8, 4, top_k=5)
