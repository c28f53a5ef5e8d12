"""What a model may see is found by asking it; each kind of attention is asked as the teacher asks it."""

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, BertModel, GPT2Config, GPT2Model, PreTrainedModel

from src.core.errors import UserError
from src.teacher.language_model.loading import without_head
from src.teacher.language_model.tiny import tiny_random, tiny_random_causal
from src.teacher.language_model.visibility import asking, is_causal, is_near, keeps_to_mask, masks_agree

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
    masks_agree(model, 20)
    assert torch.equal(torch.get_rng_state(), before) and model.training


@pytest.mark.parametrize(
    ("raised", "said"), [(IndexError("too far\nin"), "IndexError: too far"), (KeyError(), "KeyError")]
)
def test_a_model_that_cannot_be_asked_is_refused_by_name(raised, said):
    model, sentence = tiny_random()[0], rf"^BertModel cannot .* \({said}\): use another\.$"
    with pytest.raises(UserError, match=sentence), asking(model, "use another"):
        raise raised


@pytest.mark.parametrize("raised", [MemoryError(), UserError("as it is")])
def test_what_is_no_fault_of_the_model_stays_as_it_is(raised):
    with pytest.raises(type(raised)) as caught, asking(tiny_random()[0], "use another"):
        raise raised
    assert caught.value is raised


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_readings_are_as_near_as_rounding_has_it(dtype):
    torch.manual_seed(0)
    expected, noise = torch.randn(50, 100), torch.randn(50, 100)
    for rounding, apart, near in ((0.02, 0.05, True), (0.02, 0.1, False), (0.0, 0.02, False), (9.0, 0.3, False)):
        again = expected + rounding * noise.flip(0)
        assert is_near(expected + apart * noise, expected, again, dtype) == near
    assert is_near(expected.to(torch.bfloat16), expected, expected, torch.bfloat16)
    assert not is_near(expected.to(torch.bfloat16), expected, expected, torch.float32)
