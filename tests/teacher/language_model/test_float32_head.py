import pytest
import torch
from torch import nn

from src.teacher.language_model.float32_head import Float32Head, float32_logits
from src.teacher.language_model.tiny import tiny_random_causal


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_weights_of_any_kind_are_multiplied_in_float32_part_by_part(monkeypatch, dtype, bias):
    monkeypatch.setattr(Float32Head, "VOCABULARY", 4)
    torch.manual_seed(0)
    head, hidden = nn.Linear(8, 10, bias=bias).to(dtype), torch.randn(2, 3, 8).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = Float32Head(head)(hidden)
    expected = hidden.double() @ head.weight.double().T + (head.bias.double() if bias else 0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float())


def test_the_head_is_given_back_whatever_happens():
    model = tiny_random_causal()[0]
    head = model.get_output_embeddings()
    with pytest.raises(RuntimeError, match="halfway"), float32_logits(model):
        assert model.get_output_embeddings() is not head
        raise RuntimeError("halfway")
    assert model.get_output_embeddings() is head
