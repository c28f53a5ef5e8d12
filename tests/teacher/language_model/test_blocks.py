import pytest
import torch
from transformers import AutoModel, GPT2Config, GPT2Model, PreTrainedModel, Qwen3Config, Qwen3Model

from src.core.errors import UserError
from src.teacher.choices import LANGUAGE_MODELS
from src.teacher.language_model.blocks import blocks, keep_first_blocks
from src.teacher.language_model.loading import check_language_model, load_language_model, without_head
from src.teacher.language_model.tiny import tiny_random, tiny_random_causal
from src.teacher.moe_lora_model import target_layers
from src.teacher.settings import LanguageModelSettings

IDS = torch.tensor([[5, 90, 7, 31, 200, 12]])


def first(number: int | None, **given) -> LanguageModelSettings:
    return LanguageModelSettings(**{"name": "some", "blocks": number, **given})


def qwen3() -> PreTrainedModel:
    """Blocks whose attention is of two kinds, which its config lists."""
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    sizes = {"num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    config = Qwen3Config(
        vocab_size=300, hidden_size=16, intermediate_size=32, layer_types=kinds, use_sliding_window=True,
        sliding_window=2, **sizes
    )  # fmt: skip
    return Qwen3Model(config).eval()


def gpt2() -> PreTrainedModel:
    """Its config calls the number of blocks n_layer."""
    return GPT2Model(GPT2Config(vocab_size=300, n_embd=16, n_layer=4, n_head=2)).eval()


def bert() -> PreTrainedModel:
    return tiny_random()[0]


def llama() -> PreTrainedModel:
    return without_head(tiny_random_causal()[0])


def as_it_is(states: torch.Tensor) -> torch.Tensor:
    return states


@pytest.mark.parametrize(("make", "norm"), [(bert, None), (llama, "norm"), (qwen3, "norm"), (gpt2, "ln_f")])
def test_the_states_are_those_of_the_whole_models_nth_block_behind_the_last_norm_if_there_is_one(make, norm):
    model = make()
    whole = model.config.num_hidden_layers
    with torch.no_grad():
        states = model(input_ids=IDS, output_hidden_states=True).hidden_states
        last_norm = as_it_is if norm is None else getattr(model, norm)
        keep_first_blocks(model, first(whole - 1))
        cut = model(input_ids=IDS).last_hidden_state
    assert torch.equal(cut, last_norm(states[whole - 1]))
    assert not torch.allclose(cut, states[whole])
    assert model.config.num_hidden_layers == len(blocks(model)) == whole - 1


@pytest.mark.parametrize("make", [bert, llama, qwen3, gpt2])
def test_what_is_left_is_a_model_like_any_other(make, tmp_path):
    model = make()
    keep_first_blocks(model, first(1))
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert len(blocks(again)) == 1
    assert torch.equal(again(input_ids=IDS).last_hidden_state, model(input_ids=IDS).last_hidden_state)


def test_null_leaves_all():
    model = qwen3()
    keep_first_blocks(model, first(None))
    assert len(blocks(model)) == 4


@pytest.mark.parametrize("name", ["tiny-random", "tiny-random-causal"])
def test_a_model_is_loaded_with_the_first_blocks_and_adapters_are_on_these_alone(tmp_path, name):
    given, tokenizer = LANGUAGE_MODELS[name]()
    given.save_pretrained(tmp_path / "some")
    tokenizer.save_pretrained(tmp_path / "some")
    head = name == "tiny-random-causal"
    for llm in (first(1, name=name), first(1)):  # made here, and from files
        model, _ = load_language_model(llm, tmp_path, head=head)
        assert len(blocks(model)) == 1
        adapted = target_layers(model, "all-linear")
        assert adapted and all(".0." in name for name in adapted)
        whole = target_layers(given, "all-linear")
        assert 2 * len(adapted) == len(whole)
        assert all(torch.equal(layer.weight, whole[name].weight) for name, layer in adapted.items())


@pytest.mark.parametrize("name", ["tiny-random", "some"])
def test_more_blocks_than_there_are_are_refused_in_one_sentence_before_weights_are_read(tmp_path, name):
    model, tokenizer = tiny_random()
    model.save_pretrained(tmp_path / "some")
    tokenizer.save_pretrained(tmp_path / "some")
    for ask in (check_language_model, load_language_model):
        with pytest.raises(UserError, match=rf"^teacher.llm.blocks=3 is more than the 2 blocks that {name} has: use"):
            ask(first(3, name=name), tmp_path, head=False)
        ask(first(2, name=name), tmp_path, head=False)


def test_a_model_without_blocks_is_refused():
    model = tiny_random_causal()[0]
    model.config.num_hidden_layers = 3
    with pytest.raises(UserError, match="has no list of the 3 blocks that its config counts"):
        blocks(model)
    with pytest.raises(UserError, match=r"teacher\.llm\.blocks=null"):
        keep_first_blocks(model, first(1))


def test_whole_models_have_the_keys_that_they_had_before_blocks_could_be_left_out():
    assert "blocks" not in first(None).key()
    assert first(2).key() == {**first(None).key(), "blocks": 2}
