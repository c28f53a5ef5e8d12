import pytest
import torch

from src.core.errors import UserError
from src.teacher.gating import ROUTERS, router_named
from tests.golden import load_golden


def golden_router(name: str, dtype: torch.dtype):
    tensors, _ = load_golden("case2_gating_seed0")
    net = {"linear": "Dense", "mlp": "MLP"}[name]
    stored = [value for key, value in tensors.items() if key.startswith(f"{net}/param/")]
    router = router_named(name)(64, tensors[f"{net}/f32/out2"].shape[1]).to(dtype)
    with torch.no_grad():
        for parameter in router.parameters():  # every shape occurs once
            (value,) = [value for value in stored if value.shape == parameter.shape]
            parameter.copy_(value)
    assert len(stored) == len(list(router.parameters()))
    return router, tensors, net


@pytest.mark.parametrize("name", ROUTERS)
@pytest.mark.parametrize(
    ("variant", "dtype", "tolerance"), [("f32", torch.float32, 1e-5), ("f64", torch.float64, 1e-12)]
)
def test_routers_equal_the_reference_codes(name, variant, dtype, tolerance):
    router, tensors, net = golden_router(name, dtype)
    x = tensors["x3"].to(dtype).requires_grad_()
    gates = router(x)
    (gates * tensors["c3"].to(dtype)).sum().backward()
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(gates, tensors[f"{net}/{variant}/out3"], **close)
    torch.testing.assert_close(x.grad, tensors[f"{net}/{variant}/grad_x3"], **close)
    torch.testing.assert_close(router(tensors["x2"].to(dtype)), tensors[f"{net}/{variant}/out2"], **close)


@pytest.mark.parametrize("name", ROUTERS)
@pytest.mark.parametrize("num_experts", [1, 2, 5])
def test_gates_are_positive_and_sum_to_one(name, num_experts):
    gates = router_named(name)(8, num_experts)(10 * torch.randn(6, 8))
    assert gates.shape == (6, num_experts)
    assert (gates >= 0).all()
    torch.testing.assert_close(gates.sum(1), torch.ones(6))


@pytest.mark.parametrize("name", ROUTERS)
def test_users_get_mixtures_of_their_own(name):
    gates = router_named(name)(8, 4)(torch.randn(2, 8))
    assert not torch.allclose(gates[0], gates[1])


def test_an_unknown_router_is_refused_with_those_there():
    with pytest.raises(UserError, match=r"teacher.router=resnet is not known: use one of linear, mlp"):
        router_named("resnet")
