"""Gates on their way to the layers of real architectures: recomputation, generation, compilation."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedModel

from src.core.errors import UserError
from src.teacher.language_model.recomputing import enable_gradient_checkpointing
from src.teacher.moe_lora_model import (
    GateBinding,
    MoELoRALinear,
    adapters_of,
    inject_adapters,
    train_adapters,
)
from tests.teacher.merging import merged

NUM_EXPERTS = 2
TOKENS = torch.tensor([[5, 9, 2, 7, 1], [3, 8, 8, 4, 6]])
FIRST, SECOND = torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([[0.2, 0.8], [0.6, 0.4]])


def bert() -> BertModel:
    config = BertConfig(
        vocab_size=16, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=False)


def llama(kind: type[PreTrainedModel] = LlamaModel) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=16, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=32, eos_token_id=None,
    )  # fmt: skip
    return kind(config)


def with_adapters(model: PreTrainedModel, dropout: float = 0.0) -> GateBinding:
    """Adapters strong enough to change what the model says."""
    binding = inject_adapters(model, "all-linear", 4, NUM_EXPERTS, 8.0, dropout)
    for adapter in adapters_of(model).values():
        nn.init.normal_(adapter.lora_A, std=0.5)
        nn.init.normal_(adapter.lora_B, std=0.5)
    train_adapters(model, True)
    return binding


@contextmanager
def counted_runs(layer: nn.Module) -> Iterator[list[int]]:
    runs = []
    hook = layer.register_forward_pre_hook(lambda *_: runs.append(1))
    yield runs
    hook.remove()


def hidden(model: PreTrainedModel, binding: GateBinding, gates: Tensor, tokens: Tensor = TOKENS) -> Tensor:
    with binding.bind(gates):
        return model(input_ids=tokens).last_hidden_state


# --- gradient checkpointing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [bert, llama])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_recomputed_blocks_see_the_gates_of_their_own_forward(build, dropout):
    torch.manual_seed(0)
    model = build()
    binding = with_adapters(model, dropout)
    last_adapter = list(adapters_of(model).values())[-1]

    def gradients() -> tuple[dict[str, Tensor], int]:
        """Two forwards with different gates, then one backward, outside either scope."""
        torch.manual_seed(1)
        model.zero_grad()
        gates = [FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_()]
        with counted_runs(last_adapter) as runs:
            first, second = (hidden(model, binding, each) for each in gates)
            (first.square().sum() + 3 * second.sin().sum()).backward()
        trained = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
        return trained | {f"gates {number}": each.grad for number, each in enumerate(gates)}, len(runs)

    expected, runs = gradients()
    assert runs == 2
    enable_gradient_checkpointing(model, binding)
    train_adapters(model, True)
    computed, runs = gradients()
    assert runs == 4  # it did run again
    assert all(gradient.abs().max() > 0 for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(computed[name], gradient, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_a_second_backward_over_one_forward_recomputes_once_more():
    torch.manual_seed(0)
    model = llama()
    binding = with_adapters(model)
    enable_gradient_checkpointing(model, binding)
    train_adapters(model, True)
    loss = hidden(model, binding, FIRST).square().sum()
    parameter = next(iter(adapters_of(model).values())).lora_B
    (once,) = torch.autograd.grad(loss, parameter, retain_graph=True)
    (again,) = torch.autograd.grad(loss, parameter)
    assert torch.equal(once, again)


def test_nothing_of_the_frozen_model_drops_out_while_its_blocks_recompute():
    model = bert()  # drops half of everything in training
    binding = with_adapters(model)
    enable_gradient_checkpointing(model, binding)
    train_adapters(model, True)
    assert torch.equal(hidden(model, binding, FIRST), hidden(model, binding, FIRST))


def test_training_mode_reaches_what_adapters_drop():
    model = bert()
    binding = with_adapters(model, dropout=0.5)
    assert not torch.equal(hidden(model, binding, FIRST), hidden(model, binding, FIRST))
    train_adapters(model, False)
    assert torch.equal(hidden(model, binding, FIRST), hidden(model, binding, FIRST))


def test_evaluation_keeps_nothing_to_recompute():
    model = llama()
    binding = with_adapters(model)
    enable_gradient_checkpointing(model, binding)
    train_adapters(model, False)
    with counted_runs(next(iter(adapters_of(model).values()))) as runs:
        hidden(model, binding, FIRST).sum().backward()
    assert len(runs) == 1


def test_a_model_that_cannot_recompute_is_refused():
    model = llama()
    model.supports_gradient_checkpointing = False
    with pytest.raises(UserError, match=r"LlamaModel cannot .* teacher.llm.gradient_checkpointing=false"):
        enable_gradient_checkpointing(model, GateBinding())


# --- generation ----------------------------------------------------------------------------------------------------


def generated(model: LlamaForCausalLM, tokens: Tensor, num_beams: int) -> Tensor:
    return model.generate(
        input_ids=tokens, attention_mask=torch.ones_like(tokens), num_beams=num_beams, max_new_tokens=8,
        do_sample=False, use_cache=True, pad_token_id=0,
    )  # fmt: skip


@pytest.mark.parametrize("num_beams", [1, 3])
def test_generation_with_a_cache_gives_each_user_the_tokens_of_their_merged_model(num_beams):
    torch.manual_seed(2)
    model = llama(LlamaForCausalLM)
    binding = with_adapters(model)
    train_adapters(model, False)
    with binding.bind(FIRST.repeat_interleave(num_beams, 0)):
        together = generated(model, TOKENS, num_beams)
    with binding.bind(FIRST.flip(0).repeat_interleave(num_beams, 0)):
        exchanged = generated(model, TOKENS, num_beams)
    assert not torch.equal(together, exchanged)  # the gates decide what is said

    for user in range(2):
        alone = merged(model, FIRST[user])
        assert torch.equal(generated(alone, TOKENS[[user]], num_beams)[0], together[user])


# --- gates per token -----------------------------------------------------------------------------------------------


def test_with_gates_per_token_a_causal_model_reads_each_prefix_under_its_own():
    """The state at t under gates that are constant up to t is the one of a run under those gates alone."""
    torch.manual_seed(3)
    model = llama()
    binding = with_adapters(model)
    per_token = FIRST.unsqueeze(1).repeat(1, 5, 1)
    per_token[:, 3:] = SECOND.unsqueeze(1)
    states, constant = hidden(model, binding, per_token), hidden(model, binding, FIRST)
    torch.testing.assert_close(states[:, :3], constant[:, :3], rtol=1e-5, atol=1e-5)
    assert (states[:, 3:] - constant[:, 3:]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize("build", [bert, llama])
def test_rows_under_their_own_gates_are_those_of_single_runs(build):
    torch.manual_seed(4)
    model = build()
    binding = with_adapters(model)
    together = hidden(model, binding, FIRST)
    for row in range(2):
        alone = hidden(model, binding, FIRST[[row]], TOKENS[[row]])
        torch.testing.assert_close(together[[row]], alone, rtol=1e-5, atol=1e-5)


# --- several models ------------------------------------------------------------------------------------------------


def test_two_models_side_by_side_each_follow_their_own_gates():
    torch.manual_seed(5)
    first, second = llama(), llama()
    of_first, of_second = with_adapters(first), with_adapters(second)
    alone = hidden(first, of_first, FIRST), hidden(second, of_second, SECOND)
    with of_first.bind(FIRST), of_second.bind(SECOND):
        together = first(input_ids=TOKENS).last_hidden_state, second(input_ids=TOKENS).last_hidden_state
        with of_first.bind(SECOND):
            assert not torch.equal(first(input_ids=TOKENS).last_hidden_state, together[0])
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    with of_first.bind(FIRST), pytest.raises(RuntimeError, match="outside"):
        second(input_ids=TOKENS)


def test_disabled_adapters_leave_the_frozen_model():
    torch.manual_seed(6)
    model = bert().eval()
    plain = model(input_ids=TOKENS).last_hidden_state
    binding = with_adapters(model)
    with binding.bind(FIRST):
        adapted = model(input_ids=TOKENS).last_hidden_state
        with binding.disabled():
            assert torch.equal(model(input_ids=TOKENS).last_hidden_state, plain)
        assert torch.equal(model(input_ids=TOKENS).last_hidden_state, adapted)
    assert not torch.equal(adapted, plain)


def test_all_linear_spares_the_output_head():
    model = llama(LlamaForCausalLM)
    with_adapters(model)
    assert not isinstance(model.lm_head, MoELoRALinear)
    assert {name.rpartition(".")[2] for name in adapters_of(model)} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


# --- compilation ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_compiled_model_is_one_graph_and_follows_new_gates():
    torch.manual_seed(7)
    model = llama()
    binding = with_adapters(model)
    graphs = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    def last_states(states: Tensor) -> Tensor:
        return model(inputs_embeds=states, use_cache=False)[0]

    compiled = torch.compile(last_states, fullgraph=True, backend=count)
    states = model.get_input_embeddings()(TOKENS)
    for gates in (FIRST, SECOND):
        with binding.bind(gates):
            torch.testing.assert_close(compiled(states), last_states(states), rtol=1e-5, atol=1e-5)
    assert len(graphs) == 1
