from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.teacher.language_model import attention as attention_module
from src.teacher.language_model.attention import NAME, attention
from src.teacher.language_model.loading import load_language_model
from src.teacher.settings import LanguageModelSettings

LAYER = SimpleNamespace(is_causal=False, training=True, num_key_value_groups=1)
B, HEADS, T, D = 3, 2, 7, 16


def inputs(tokens: int = T, dtype: torch.dtype = torch.bfloat16) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(B, HEADS, tokens, D, generator=draw).to(dtype).requires_grad_() for _ in range(3)]


def mask(tokens: int = T) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return (torch.rand(B, 1, tokens, tokens, generator=draw) < 0.5) | torch.eye(tokens, dtype=torch.bool)


def with_gradients(output: Tensor, given: list[Tensor]) -> list[Tensor]:
    weights = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
    return [output.float(), *(g.float() for g in torch.autograd.grad((output.float() * weights).sum(), given))]


@pytest.mark.parametrize("masked", [True, False])
def test_plain_products_are_attention(masked, monkeypatch):
    monkeypatch.delattr(attention_module, "sdpa_attention_forward")  # not asked
    seen, given = mask() if masked else None, inputs()
    output, _ = attention(LAYER, *given, seen, scaling=0.3, dropout=0.0)
    exact = [each.detach().float().requires_grad_() for each in given]
    expected = F.scaled_dot_product_attention(*exact, attn_mask=seen, scale=0.3).transpose(1, 2)
    assert output.shape == (B, T, HEADS, D)
    for one, other in zip(with_gradients(output, given), with_gradients(expected, exact), strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize(
    ("given", "seen", "settings"),
    [
        (inputs(dtype=torch.float32), mask(), {}),
        (inputs(tokens=257), mask(257), {}),
        (inputs(), None, {"is_causal": True}),
        (inputs(), torch.zeros(B, 1, T, T, dtype=torch.bfloat16), {}),
        ([inputs()[0], *(each[:, :1] for each in inputs()[1:])], mask(), {}),  # grouped queries
        (inputs(), mask(), {"softcap": 30.0}),
    ],
    ids=["float32", "long", "causal", "additive mask", "grouped queries", "softcap"],
)
def test_everything_else_is_left_to_transformers(given, seen, settings, monkeypatch):
    asked = []
    monkeypatch.setattr(attention_module, "sdpa_attention_forward", lambda *every, **more: asked.append((every, more)))
    attention(LAYER, *given, seen, **settings)
    assert asked == [((LAYER, *given, seen), settings)]


def test_no_gradient_no_plain_products(monkeypatch):
    asked = []
    monkeypatch.setattr(attention_module, "sdpa_attention_forward", lambda *every, **more: asked.append(every))
    with torch.no_grad():
        attention(LAYER, *inputs(), mask())
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["tiny-random", "tiny-random-causal"])
def test_a_language_model_says_the_same_either_way(name, tmp_path, monkeypatch):
    model, _ = load_language_model(LanguageModelSettings(name=name), tmp_path, head=False)
    assert model.config._attn_implementation == NAME
    ids, attended = torch.arange(4, 24).reshape(2, 10), torch.arange(10) < torch.tensor([[10], [6]])
    said = []
    for implementation in (NAME, "sdpa"):
        model.set_attn_implementation(implementation)
        with torch.autocast("cpu", torch.bfloat16):
            said.append(model(input_ids=ids, attention_mask=attended.long()).last_hidden_state[attended].float())
    assert (said[0] - said[1]).norm() < 0.02 * said[1].norm()
