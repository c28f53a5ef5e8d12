"""What a model may see is found by asking it; each kind of attention is asked as the teacher asks it."""

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, BertModel, GPT2Config, GPT2Model, PreTrainedModel

from src.teacher.language_model.loading import without_head
from src.teacher.language_model.tiny import tiny_random, tiny_random_causal
from src.teacher.language_model.visibility import is_causal, keeps_to_mask

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


def bert(decoder: bool) -> PreTrainedModel:
    torch.manual_seed(0)
    return without_head(BertLMHeadModel(BertConfig(vocab_size=40, is_decoder=decoder, **SMALL)))


def gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    return GPT2Model(GPT2Config(vocab_size=90, n_embd=8, n_layer=1, n_head=1))


@pytest.mark.parametrize(
    ("model", "causal"),
    [
        (tiny_random()[0], False),
        (without_head(tiny_random_causal()[0]), True),
        (bert(decoder=False), False),
        (bert(decoder=True), True),
        (gpt2(), True),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", [True, False])
def test_the_model_itself_tells_whether_it_is_causal(model, causal, dtype, mode):
    model.to(dtype).train(mode)
    assert is_causal(model) == causal
    assert all(module.training == mode for module in model.modules())


@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize("make", [tiny_random, lambda: (without_head(tiny_random_causal()[0]), None)])
def test_shipped_kinds_keep_to_masks(make, additive):
    assert keeps_to_mask(make()[0], additive)


def test_attention_that_adds_truth_values_is_found_out():
    model, _ = tiny_random()
    model.set_attn_implementation("eager")
    assert not keeps_to_mask(model, additive=False)
    assert keeps_to_mask(model, additive=True)


class Forgetful(BertModel):
    """Overlooks masks that are not about padding."""

    def forward(self, inputs_embeds, attention_mask):
        return super().forward(inputs_embeds=inputs_embeds, attention_mask=attention_mask[:, 0, -1].long())


def test_a_model_that_overlooks_masks_is_found_out():
    model = Forgetful(tiny_random()[0].config, add_pooling_layer=False)
    assert not keeps_to_mask(model, additive=False)


def test_a_probe_draws_nothing_at_random():
    model, _ = tiny_random()
    before = torch.get_rng_state()
    is_causal(model.train())
    keeps_to_mask(model, additive=False)
    assert torch.equal(torch.get_rng_state(), before)
