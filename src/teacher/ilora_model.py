"""iLoRA: a frozen language model with LoRA experts, mixed anew for each user's history, ranking the catalogue."""

from collections.abc import Sequence
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..core.precision import float32_scores
from ..data.batches import token_batches
from ..data.dataset import Dataset, ExampleBatch, Examples
from ..data.rows import ExampleRows, Rows, TrainingBatch
from ..student.models import SequentialRecommender
from ..training.softmax import full_softmax_loss
from .ensemble.calibration import EnsembleMember, ensemble_scores
from .gated_model import GatedLanguageModel
from .interfaces import AS_RANKED, MadeByRow, Presentation, Reading, Scored
from .language_model.encodings import of_one_length, pool
from .moe_lora_model import GateBinding
from .prompts.prompt import PADDING_ID, PromptBuilder

ITEMS_AT_ONCE = 2**17  # whose vectors are made together
MEASURED_AT_ONCE = 2**16  # histories whose prompts' lengths are looked up together


class ILoRAModel(GatedLanguageModel[TrainingBatch], EnsembleMember):
    """Scores `q(h_seq) · v_i / sqrt(d) + b_i` for every item i.

    `h_seq` is the language model's representation of a prompt that shows titles and, at the marker behind each, the
    frozen student's item vector through a projector. Every adapted layer mixes its experts by `g = router(u)`, `u` the
    frozen student's representation of the same history. `v_i` joins the frozen language model's encoding of the item's
    text with the student's item vector, both mapped linearly; `b_i` starts at the log of the item's share of training
    interactions, so that training starts from popularity.

    Trained: adapters, router, projector, the maps to `q` and `v`, `b`. Frozen: language model, student.

    Once trained, it may rank in an ensemble with the student, as `calibration` says (`EnsembleMember`); in training it
    has none, so that the language model learns to rank by itself.

    Args:
        language_model: Takes `inputs_embeds` and `attention_mask`, returns `last_hidden_state`.
        prompts: Builds token ids for its tokenizer.
        binding, user_encoder, router: See `GatedLanguageModel`.
        item_texts: `[num_items, d_llm]` encodings of the items' texts (`encode_texts`).
        item_counts: `[num_items + 1]` training interactions of each item.
        shows_ids: False: no item vector of the student is read, at markers or on the item side; `v_i` is of the item's
            text alone.
        gate_input: "student", the frozen student's representation of the history, or "h_seq", the language model's own
            with its adapters at rest (specification §8.4; a second reading of the prompt, without gradient).
        pooling: "mean" over the prompt's tokens (encoders), or "last" token (causal models).
        max_tokens: Padded tokens of one forward pass when scoring.
    """

    kept_buffers = frozenset({"item_texts"})
    item_texts: Tensor

    def __init__(
        self,
        language_model: PreTrainedModel,
        binding: GateBinding,
        prompts: PromptBuilder,
        user_encoder: SequentialRecommender,
        router: nn.Module,
        item_texts: Tensor,
        item_counts: Tensor,
        *,
        pooling: str,
        max_tokens: int,
        gate_input: str,
        shows_ids: bool = True,
    ) -> None:
        super().__init__(language_model, binding, user_encoder, router)
        self.shows_ids = self.ids_at_markers = self.ids_of_items = shows_ids
        self.prompts = prompts
        self.pooling = pooling
        self.max_tokens = max_tokens
        self.gate_input = gate_input
        d_llm, d_item = item_texts.shape[1], user_encoder.item_table().shape[1]
        self.query = nn.Sequential(nn.LayerNorm(d_llm), nn.Linear(d_llm, d_llm))
        self.item_from_text = nn.Linear(d_llm, d_llm, bias=False)
        self.item_from_id = nn.Linear(d_item, d_llm, bias=False).requires_grad_(shows_ids)
        share = (item_counts[1:] + 1).double() / (item_counts[1:] + 1).sum()
        self.item_bias = nn.Parameter(share.log().float())
        self.register_buffer("item_texts", of_one_length(item_texts))

    def item_embeddings(self) -> Tensor:
        """See `TeacherModel.item_embeddings`; d_teacher is the language model's width."""
        vectors = torch.empty_like(self.item_texts)
        with float32_scores(self.item_texts.device):
            for first in range(0, len(vectors), ITEMS_AT_ONCE):  # else there would be three more tables of this size
                some = slice(first, first + ITEMS_AT_ONCE)
                vectors[some] = self.item_from_text(self.item_texts[some]) + self.item_from_id(self._item_ids(some))
        return vectors

    def text_embeddings(self) -> Tensor:
        """See `TeacherModel.text_embeddings`."""
        return self.item_texts

    def _item_ids(self, some: slice = slice(None)) -> Tensor:
        """Returns the student's item vectors, `[num_items, d_user]` or `some` of them, each of the length that random
        ones have; zeros where they are not of the items (`ids_of_items`).
        """
        table = self.user_encoder.item_table()[1:][some]
        if not self.ids_of_items:
            return torch.zeros_like(table)
        return F.normalize(table, dim=1) * table.shape[1] ** 0.5

    def gates(self, history: Tensor) -> Tensor:
        """See `GatedLanguageModel.gates`."""
        if self.gate_input == "student":
            return self.router(self.user_states(history))
        with torch.no_grad(), self.binding.disabled():
            h_seq = self._read(history)
        return self.router(h_seq.float())

    def sequence_representation(self, history: Tensor, gates: Tensor) -> Tensor:
        """Returns `h_seq [B, d_llm]` of the prompts of histories `[B, L]` under `gates [B, E]`."""
        with self.binding.bind(gates):
            return self._read(history)

    def prompt_lengths(self, history: Tensor) -> Tensor:
        """See `TeacherModel.prompt_lengths`."""
        return self.prompts.lengths(history)

    def catalogue_scores(self, history: Tensor, items: Tensor) -> Tensor:
        """Returns `[B, num_items]` scores for histories `[B, L]`, given `items`, the result of `item_embeddings()`."""
        return self.scores_of(self.sequence_representation(history, self.gates(history)), items)

    def scores_of(self, h_seq: Tensor, items: Tensor) -> Tensor:
        """Returns `[n, num_items]` float32 scores of representations `h_seq [n, d_llm]`; `items` as above."""
        with float32_scores(h_seq.device):
            return self.query(h_seq.float()) @ items.T / items.shape[1] ** 0.5 + self.item_bias

    def training_loss(self, batch: TrainingBatch, shown: Presentation = AS_RANKED) -> Tensor:
        """Cross-entropy over the whole catalogue (specification §8.6)."""
        return self.catalogue_loss(self.sequence_representation(batch.history, self.gates(batch.history)), batch.target)

    def loss_weight(self, batch: TrainingBatch) -> Tensor:
        """See `TeacherModel.loss_weight`: the targets."""
        return (batch.target > 0).sum()

    def catalogue_loss(self, h_seq: Tensor, target: Tensor) -> Tensor:
        """Returns the mean cross-entropy of `scores_of` for targets `[n]`, items from 1 on, without storing the scores.

        The item side's maps act on the queries instead of the items, `q · (W v) = (W^T q) · v`: a batch has fewer
        queries than the catalogue has items, and the items' own vectors are constant. In bf16 under autocast.
        """
        dtype = torch.bfloat16 if torch.is_autocast_enabled(h_seq.device.type) else torch.float32
        with torch.autocast(h_seq.device.type, enabled=False):
            query = self.query(h_seq.float()) / self.item_texts.shape[1] ** 0.5
            sides = [query @ self.item_from_text.weight, query @ self.item_from_id.weight]
            items = torch.cat([self.item_texts, self._item_ids()], 1)
            return full_softmax_loss(torch.cat(sides, 1), items, target - 1, dtype, bias=self.item_bias)

    def training_rows(
        self, dataset: Dataset, most: int, generator: torch.Generator
    ) -> tuple[Rows[TrainingBatch], Tensor]:
        """See `TeacherModel.training_rows`."""
        examples = dataset.examples["train"].sample(most, generator)
        rows = ExampleRows(dataset, examples, self.history_length, with_seen=False)
        return rows, self._lengths(rows)

    def validation_rows(self, dataset: Dataset, examples: Examples, with_seen: bool) -> ExampleRows:
        """See `TeacherModel.validation_rows`."""
        return ExampleRows(dataset, examples, self.history_length, with_seen)

    def readings(self, dataset: Dataset, examples: Examples) -> Sequence[Reading]:
        """See `TeacherModel.readings`; examples with prompts of similar length are read together."""
        rows = ExampleRows(dataset, examples, self.history_length, with_seen=False)
        lengths, items = self._lengths(rows), cache(self.item_embeddings)

        @torch.no_grad()
        def read(chosen: Tensor) -> Scored:
            history = rows[chosen].history.to(self.item_texts.device)
            h_seq = self.sequence_representation(history, self.gates(history))
            return self.scored(chosen, h_seq, items(), history, int(lengths[chosen].sum()))

        return [Reading(chosen, partial(read, chosen)) for chosen in token_batches(lengths, self.max_tokens)]

    def scored(self, rows: Tensor, h_seq: Tensor, items: Tensor, history: Tensor, tokens_read: int) -> Scored:
        """Returns what `rows` are worth: `ensemble` of `scores_of`, made when it is asked for; arguments as there."""

        def scores(some: slice) -> Tensor:
            return self.ensemble(self.scores_of(h_seq[some], items), history[some])

        return Scored(rows, MadeByRow(scores), tokens_read, h_seq)

    def tokens_by_example(self, dataset: Dataset) -> Tensor:
        """See `TeacherModel.tokens_by_example`."""
        rows = ExampleRows(dataset, dataset.examples["train"], self.history_length, with_seen=False)
        return self._lengths(rows).double()

    def _lengths(self, rows: ExampleRows) -> Tensor:
        """Returns `prompt_lengths` of all rows, `[rows]`."""
        parts = torch.arange(len(rows)).split(MEASURED_AT_ONCE)
        return torch.cat([self.prompt_lengths(rows[part].history) for part in parts])

    @torch.no_grad()
    def score(self, batch: ExampleBatch) -> Tensor:
        """See `TeacherModel.score`; the batch is read in parts of similar prompt length."""
        return self.ensemble(self.own_scores(batch), batch.history)

    @torch.no_grad()
    def scores_of_both(self, batch: ExampleBatch) -> tuple[Tensor, Tensor]:
        """See `EnsembleMember.scores_of_both`."""
        return self.own_scores(batch), self.user_encoder.predict(batch.history)

    @torch.no_grad()
    def own_scores(self, batch: ExampleBatch) -> Tensor:
        """Returns `[B, num_items]` scores of the language model alone."""
        items = self.item_embeddings()
        scores = torch.empty(len(batch.target), len(items), device=items.device)
        for rows in token_batches(self.prompt_lengths(batch.history), self.max_tokens):
            scores[rows] = self.catalogue_scores(batch.history[rows], items)
        return scores

    def ensemble(self, scores: Tensor, history: Tensor) -> Tensor:
        """Returns the calibrated scores of the ensemble, from the language model's `scores [n, num_items]` and the
        whole histories `[n, L]` that the frozen student ranks by.
        """
        weight, temperature = self.calibration
        joined = ensemble_scores(scores, self.user_encoder.predict(history), weight) if weight else scores
        return joined / temperature

    def _read(self, history: Tensor) -> Tensor:
        prompt = self.prompts.build(history)
        attended = prompt.token_ids != PADDING_ID
        hidden = self.language_model(
            inputs_embeds=self.embedded(prompt.token_ids, prompt.marked_items), attention_mask=attended.long()
        ).last_hidden_state
        return pool(hidden, attended, self.pooling)
