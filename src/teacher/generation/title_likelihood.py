"""How likely a causal language model finds titles behind prompts: a prompt is read once, and so is a tree of titles."""

from itertools import chain, cycle, islice

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from ..language_model.float32_head import float32_logits
from ..language_model.visibility import at_rest, is_near
from ..prompts.prompt import PADDING_ID
from .prompt import ChoicePromptBuilder
from .title_trie import TitleTrie

PADDING = 3  # tokens in front of a probe's prompt


def title_likelihoods(
    language_model: PreTrainedModel, embeddings: Tensor, attended: Tensor, trie: TitleTrie, max_tokens: int
) -> Tensor:
    """Returns `[B, titles]` float32, `log p(title | prompt)`: the tree's inner nodes are read part by part.

    Args:
        language_model: With its output head.
        embeddings: `[B, P, d_llm]`, prompts padded on the left.
        attended: `[B, P]` bool, False at padding.
        trie: The titles, ends of text included.
        max_tokens: The most nodes of one pass, over all rows.
    """
    B, device = len(attended), attended.device
    step = torch.empty(B, len(trie), device=device)  # log p(node's token | its parent's beginning)
    with float32_logits(language_model):
        logits, cache = _read_prompts(language_model, embeddings, attended)
        first = (trie.parent < 0).nonzero().squeeze(1)
        step[:, first] = logits.log_softmax(-1)[:, trie.token[first].to(device)]
        for part in trie.parts(max(1, max_tokens // B)):
            inner = part[trie.inner[part]]
            if len(inner):
                logits = _read_nodes(language_model, trie, inner, attended, cache)
                _fill(step, trie, part, inner, logits.log_softmax(-1))
    total = step.clone()
    for depth in range(1, int(trie.depth.max()) + 1):
        nodes = (trie.depth == depth).nonzero().squeeze(1)
        total[:, nodes] += total[:, trie.parent[nodes]]
    return total[:, trie.end]


def reads_trees(language_model: PreTrainedModel, prompts: ChoicePromptBuilder, candidates: int) -> bool:
    """Whether `language_model` reads a title in a tree, behind the longest of prompts, as it reads it by itself.

    It does not where its attention has a window that is shorter, since the mask that keeps titles apart takes the place
    of its own; nor where it counts the tokens between two places itself, since other titles then stand between them.

    Args:
        language_model: With its output head, its adapters, if any, at rest.
        prompts: Whose longest prompts and answers are tried.
        candidates: How many a prompt offers.
    """
    title = max(prompts.answers, key=len)
    length = min(prompts.longest(candidates), prompts.max_tokens - PADDING)
    prompt = list(islice(chain(*prompts.templates[0], cycle(chain(*prompts.titles))), length))
    trie, asked = TitleTrie.of([title[::-1], title]), title[:-1]  # which begin differently; the last one is looked at
    words = language_model.get_input_embeddings()
    device = next(language_model.parameters()).device
    padded = torch.tensor([[PADDING_ID] * PADDING + prompt], device=device)
    attended = padded != PADDING_ID
    with at_rest(language_model), float32_logits(language_model):
        _, cache = _read_prompts(language_model, words(padded.clamp(min=0)), attended)
        nodes = trie.inner.nonzero().squeeze(1)
        in_tree = _read_nodes(language_model, trie, nodes, attended, cache)[:, -len(asked) :]
        attended = torch.cat([attended, attended.new_ones(1, len(asked))], dim=1)
        behind = language_model(
            input_ids=torch.tensor([asked], device=device),
            attention_mask=attended.long(),
            position_ids=positions(attended)[:, -len(asked) :],
            past_key_values=cache,
            use_cache=True,
        ).logits
        whole = torch.tensor([prompt + asked], device=device)
        by_itself = language_model(inputs_embeds=words(whole), logits_to_keep=len(asked)).logits
    found, again, expected = (logits.log_softmax(-1) for logits in (in_tree, behind, by_itself))
    return is_near(found, expected, again, language_model.dtype)


def positions(attended: Tensor) -> Tensor:
    """Returns `[B, T]`: the place of each token among the real ones of its row, padding on either side left out."""
    return (attended.cumsum(1) - 1).clamp(min=0)


def _read_prompts(language_model: PreTrainedModel, embeddings: Tensor, attended: Tensor) -> tuple[Tensor, DynamicCache]:
    """Returns logits `[B, V]` behind each prompt, and what was read."""
    read = language_model(
        inputs_embeds=embeddings,
        attention_mask=attended.long(),
        position_ids=positions(attended),
        past_key_values=DynamicCache(),
        use_cache=True,
        logits_to_keep=1,
    )
    return read.logits[:, -1], read.past_key_values


def _read_nodes(
    language_model: PreTrainedModel, trie: TitleTrie, nodes: Tensor, attended: Tensor, cache: DynamicCache
) -> Tensor:
    """Returns logits `[B, n, V]` behind each node, which sees its prompt and its own beginning."""
    B, device, dtype = len(attended), attended.device, language_model.dtype
    ancestry = trie.ancestry(nodes).to(device).expand(B, -1, -1)
    sees = torch.cat([attended.unsqueeze(1).expand(-1, len(nodes), -1), ancestry], dim=2).unsqueeze(1)
    logits = language_model(
        input_ids=trie.token[nodes].to(device).expand(B, -1),
        attention_mask=torch.zeros(sees.shape, dtype=dtype, device=device).masked_fill(~sees, torch.finfo(dtype).min),
        position_ids=attended.sum(1, keepdim=True) + trie.depth[nodes].to(device),
        past_key_values=cache,
        use_cache=True,
    ).logits
    cache.crop(-len(nodes))  # for the next part
    return logits


def _fill(step: Tensor, trie: TitleTrie, part: Tensor, inner: Tensor, log_probability: Tensor) -> None:
    children = part[trie.parent[part] >= 0]
    place = torch.full((len(trie),), -1)
    place[inner] = torch.arange(len(inner))
    step[:, children] = log_probability[:, place[trie.parent[children]], trie.token[children]]
