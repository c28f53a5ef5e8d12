import math

import pytest
import torch
from torch import Tensor

from src.core.errors import UserError
from src.core.settings_reading import read_settings
from src.student.layers.attention import CausalBlock, turned
from src.student.settings import SASRecSettings
from tests.student.students import architecture, histories, student

D, HEADS, L = 8, 2, 5


def block_of(positions: str) -> CausalBlock:
    torch.manual_seed(0)
    block = CausalBlock(D, HEADS, 0.0, positions, L)
    if block.bias is not None:
        torch.nn.init.normal_(block.bias)
    return block


def literal_attention(block: CausalBlock, x: Tensor) -> Tensor:
    """Query by query, key by key, of `x [L, D]`."""
    wide = D // HEADS
    q, k, v = (part.reshape(L, HEADS, wide) for part in block.qkv(x).chunk(3, dim=-1))
    rows = []
    for t in range(L):
        heads = []
        for h in range(HEADS):
            scores = []
            for j in range(t + 1):
                if block.rotary:  # the product of complex numbers, one turned t and one j times
                    one = torch.complex(*q[t, h].chunk(2)) * torch.exp(1j * t * rates(wide))
                    other = torch.complex(*k[j, h].chunk(2)) * torch.exp(1j * j * rates(wide))
                    score = (one * other.conj()).real.sum() / math.sqrt(wide)
                else:
                    score = q[t, h] @ k[j, h] / math.sqrt(wide)
                scores.append(score + (0 if block.bias is None else block.bias[h, t - j]))
            heads.append(torch.stack(scores).softmax(0) @ v[: t + 1, h])
        rows.append(torch.cat(heads))
    return block.out(torch.stack(rows))


def rates(wide: int) -> Tensor:
    return torch.tensor([10_000 ** (-2 * i / wide) for i in range(wide // 2)])


@pytest.mark.parametrize("positions", ["absolute", "rotary", "relative_bias", "none"])
def test_attention_equals_a_literal_loop(positions):
    block, x = block_of(positions), torch.randn(1, L, D, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(block.mix(x)[0], literal_attention(block, x[0]), rtol=1e-4, atol=1e-5)


def test_turned_vectors_know_their_distance_alone():
    q, k = torch.randn(2, 1, 1, 3, D, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([0, 4, 9])
    products = [turned(q, places + far) @ turned(k, places + far).transpose(2, 3) for far in (0, 7)]
    torch.testing.assert_close(products[0], products[1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(products[0], q @ k.transpose(2, 3), atol=1e-2)


def test_places_from_the_end_are_counted_from_the_newest_item():
    model = student("sasrec/from_end")
    rows = [[item for item in row if item] for row in histories().tolist()]
    for row in rows:
        vectors = model.items.lookup(torch.tensor([row]))[0]
        expected = torch.stack([v + model.positions.weight[len(row) - 1 - i] for i, v in enumerate(vectors)])
        padded = torch.tensor([[*row, 0, 0]])
        torch.testing.assert_close(model._inputs(padded)[0, : len(row)], expected)


@pytest.mark.parametrize("name", ["sasrec", "bsarec"])
def test_a_student_that_counts_from_the_end_is_trained_by_example(name):
    assert student(name).causal and not student(f"{name}/from_end").causal


def test_rotary_places_need_pairs_of_features():
    settings = architecture("sasrec/rotary") | {"hidden_size": 6, "num_heads": 2}
    with pytest.raises(UserError, match="hidden_size=6 / num_heads=2 must be even"):
        read_settings(SASRecSettings, settings)
