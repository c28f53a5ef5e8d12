"""iLoRA's own objective: a causal language model learns to name the next item out of a list of candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...core.errors import UserError
from ...core.precision import float32_scores
from ...data.dataset import Dataset, ExampleBatch, Examples
from ...data.rows import ExampleRows
from ...student.models import SequentialRecommender
from ..gated_model import GatedLanguageModel
from ..interfaces import AS_RANKED, Presentation, Reading, Scored
from ..language_model.encodings import encode_texts
from ..language_model.float32_head import float32_logits
from ..language_model.loading import without_head
from ..language_model.visibility import asking, is_causal, keeps_to_mask
from ..moe_lora_model import GateBinding
from ..prompts.prompt import PADDING_ID, text_of
from ..settings import GenerationSettings
from .candidates import draw_candidates, shuffled
from .curriculum import shows_vectors
from .hit_ratio import first_line
from .prompt import ChoicePromptBuilder, ChoicePrompts
from .title_likelihood import positions, reads_trees, title_likelihoods
from .title_trie import TitleTrie


@dataclass(frozen=True)
class ChoiceBatch(ExampleBatch):
    """Examples with the items to choose from.

    candidates: `[B, C]` int64 item numbers, the target among them.
    """

    seen: Tensor | None = field()  # as there, but for its default: what follows has none
    candidates: Tensor


class ChoiceRows:
    """Examples by row, each with its own candidates; `__getitem__` takes row numbers `[B]`.

    Args:
        dataset, examples, length, with_seen: See `ExampleRows`.
        candidates: C.
        seed: Of the lists (`draw_candidates`): an example has the same one each time, as figures that are compared
            need. Or a generator that draws a seed for every batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        examples: Examples,
        length: int,
        with_seen: bool,
        candidates: int,
        seed: int | torch.Generator,
    ) -> None:
        self.rows = ExampleRows(dataset, examples, length, with_seen)
        self.dataset, self.examples, self.num_candidates = dataset, examples, candidates
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> ChoiceBatch:
        batch = self.rows[rows]
        seed = self.seed if isinstance(self.seed, int) else int(torch.randint(2**20, (), generator=self.seed))
        candidates = draw_candidates(self.dataset, self.examples.subset(rows), self.num_candidates, seed)
        return ChoiceBatch(batch.example_id, batch.history, batch.target, batch.seen, candidates)


class GenerationTeacher(GatedLanguageModel[ChoiceBatch]):
    """`p(title | history, candidates)`, token by token, by a causal language model with gated LoRA experts.

    The catalogue is ranked by `log p(title of i, end of text | history, candidates)` over the tree of all titles: what
    titles have in common is read once. Items of one title have one likelihood, and tie. The candidates of such a prompt
    are the frozen student's best, since a catalogue does not fit into one, in a random order as in training. Unlike
    there, the target need not be among them, and items of the history may.

    Args:
        language_model: A causal language model with its output head, and adapters.
        tokenizer: Its own.
        prompts: Writes the prompts.
        binding, user_encoder, router: See `GatedLanguageModel`.
        item_texts: `[num_items, d_llm]` encodings of the items' titles, what is exported as item embeddings.
        settings: How many candidates a prompt offers, the seed of their lists, and how the catalogue is ranked: by
            "likelihood" of the titles, or by "distance": as BIGRec does, by how far an item's title, cut as answers
            are, lies from the answer that the model writes, both encoded by the language model without adapters.
        max_tokens: Padded tokens of one forward pass when ranking.
        pooling: "mean" or "last": what a title's encoding is where titles are ranked by distance.

    Raises:
        UserError: The language model sees tokens that it is to write, or reads a title otherwise in the tree of all
            than by itself, or cannot be asked.
    """

    kept_buffers = frozenset({"item_texts"})
    item_texts: Tensor
    written_titles: Tensor  # `[num_items, d_llm]`, each item's title as an answer would be encoded

    def __init__(
        self,
        language_model: PreTrainedModel,
        binding: GateBinding,
        tokenizer: PreTrainedTokenizerBase,
        prompts: ChoicePromptBuilder,
        user_encoder: SequentialRecommender,
        router: nn.Module,
        item_texts: Tensor,
        settings: GenerationSettings,
        max_tokens: int,
        pooling: str,
    ) -> None:
        super().__init__(language_model, binding, user_encoder, router)
        with binding.disabled():
            self._check(language_model, prompts, settings)
        self.tokenizer = tokenizer
        self.prompts = prompts
        self.trie = TitleTrie.of(prompts.answers[1:])
        self.num_candidates = settings.candidates
        self.rank_by = settings.rank_by
        self.max_tokens = max_tokens
        self.seed = settings.seed
        self.pooling = pooling
        self.register_buffer("item_texts", item_texts.float())
        if settings.rank_by == "distance":
            titles = self._encoded(self._read_back(prompts.titles[1:]))
            self.register_buffer("written_titles", titles, persistent=False)

    @staticmethod
    def _check(language_model: PreTrainedModel, prompts: ChoicePromptBuilder, settings: GenerationSettings) -> None:
        name, bare = type(language_model).__name__, without_head(language_model)
        with asking(language_model, "use another language model (teacher.llm)"):
            causal = is_causal(bare)
        if not causal:
            raise UserError(
                f"{name} sees the tokens that it is to write: teacher.objective=generation needs a causal language "
                "model (teacher/llm=gemma_2b_it, for example)."
            )
        if settings.rank_by == "distance":
            return
        instead = "set teacher.generation.rank_by=distance, or use another language model (teacher.llm)"
        with asking(language_model, instead):
            keeps_apart = keeps_to_mask(bare, additive=True)
            as_by_itself = keeps_apart and reads_trees(language_model, prompts, settings.candidates)
        if not keeps_apart:
            raise UserError(f"{name} overlooks a mask that keeps titles apart: {instead}.")
        if not as_by_itself:
            raise UserError(
                f"{name} reads a title otherwise beside others than by itself behind a prompt of "
                f"{prompts.longest(settings.candidates)} tokens, as models do whose attention has a shorter window or "
                f"that count distances themselves: {instead}, or shorten the prompts "
                "(teacher.prompt.max_tokens) to less than its window."
            )

    def item_embeddings(self) -> Tensor:
        """See `TeacherModel.item_embeddings`."""
        return self.item_texts

    def text_embeddings(self) -> Tensor:
        """See `TeacherModel.text_embeddings`."""
        return self.item_texts

    def title_of(self, item: int) -> str:
        """Returns an item's title as prompts and answers have it."""
        return text_of(self.prompts.titles[item], self.tokenizer).strip()

    def training_rows(self, dataset: Dataset, most: int, generator: torch.Generator) -> tuple[ChoiceRows, Tensor]:
        """See `TeacherModel.training_rows`; candidates are drawn anew each time an example comes."""
        examples = dataset.examples["train"].sample(most, generator)
        rows = self._rows(dataset, examples, with_seen=False, seed=generator)
        return rows, torch.full((len(rows),), self.prompts.longest(self.num_candidates))

    def validation_rows(self, dataset: Dataset, examples: Examples, with_seen: bool) -> ChoiceRows:
        """See `TeacherModel.validation_rows`; candidate lists are frozen."""
        return self._rows(dataset, examples, with_seen, self.seed)

    def _rows(self, dataset: Dataset, examples: Examples, with_seen: bool, seed: int | torch.Generator) -> ChoiceRows:
        return ChoiceRows(dataset, examples, self.history_length, with_seen, self.num_candidates, seed)

    def presentation(self, done: float, generator: torch.Generator) -> Presentation:
        """See `TeacherModel.presentation`: iLoRA's curriculum, and one of the templates."""
        with_markers = shows_vectors(done, generator)
        template = int(torch.randint(len(self.prompts.templates), (), generator=generator))
        return Presentation(template, with_markers)

    def training_loss(self, batch: ChoiceBatch, shown: Presentation = AS_RANKED) -> Tensor:
        """Mean over all tokens of all answers of `-log p(token | prompt, answer so far)`, the end of text included."""
        prompt = self.prompts.build(batch.history, batch.candidates, shown.template, shown.with_markers)
        answers = self.prompts.build_answers(batch.target)
        token_ids = torch.cat([prompt.token_ids, answers], dim=1)
        attended = token_ids != PADDING_ID
        with self.binding.bind(self.gates(batch.history)):
            logits = self.language_model(
                inputs_embeds=self.embedded(token_ids, prompt.marked_items),
                attention_mask=attended.long(),
                position_ids=positions(attended),
                logits_to_keep=answers.shape[1] + 1,
            ).logits
        return F.cross_entropy(logits[:, :-1].float().transpose(1, 2), answers, ignore_index=PADDING_ID)

    def loss_weight(self, batch: ChoiceBatch) -> Tensor:
        """See `TeacherModel.loss_weight`: the tokens of all answers."""
        return (self.prompts.build_answers(batch.target) != PADDING_ID).sum()

    @torch.no_grad()
    def answers(self, batch: ChoiceBatch) -> list[str]:
        """Returns what the model says to each prompt of the first template, greedily, up to the first line break."""
        return self._answers(batch.history, self.prompts.build(batch.history, batch.candidates, 0, with_markers=True))

    def _answers(self, history: Tensor, prompt: ChoicePrompts) -> list[str]:
        generate = cast("Callable[..., Tensor]", self.language_model.generate)  # of models with an output head alone
        with self.binding.bind(self.gates(history)), float32_logits(self.language_model):
            said = generate(
                inputs_embeds=self.embedded(prompt.token_ids, prompt.marked_items),
                attention_mask=(prompt.token_ids != PADDING_ID).long(),
                max_new_tokens=max(map(len, self.prompts.answers)),
                do_sample=False,
                pad_token_id=self.tokenizer.eos_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                synced_gpus=False,  # of a sharded model Transformers takes it that all processes generate at once
            )
        return self._read_back(said)

    def _read_back(self, written: Tensor | list[list[int]]) -> list[str]:
        """Returns what counts of each row of tokens."""
        return [first_line(text) for text in self.tokenizer.batch_decode(written, skip_special_tokens=True)]

    @torch.no_grad()
    def score(self, batch: ExampleBatch) -> Tensor:
        """See `TeacherModel.score`: log-likelihoods of the items' titles, or negative distances."""
        parts = zip(*(of.split(self.rows_at_once) for of in (batch.history, batch.example_id)), strict=True)
        return torch.cat([self._scores(history, self._choice_prompts(history, ids)) for history, ids in parts])

    def readings(self, dataset: Dataset, examples: Examples) -> Sequence[Reading]:
        """See `TeacherModel.readings`."""
        nodes = int(self.trie.inner.sum()) if self.rank_by == "likelihood" else 0

        @torch.no_grad()
        def read(rows: Tensor) -> Scored:
            history = dataset.batch(examples.subset(rows), self.history_length).history.to(self.item_texts.device)
            prompt = self._choice_prompts(history, examples.example_id[rows])
            tokens = int((prompt.token_ids != PADDING_ID).sum())
            return Scored(rows, self._scores(history, prompt), tokens + len(rows) * nodes)

        return [Reading(rows, partial(read, rows)) for rows in torch.arange(len(examples)).split(self.rows_at_once)]

    def tokens_by_example(self, dataset: Dataset) -> Tensor:
        """See `TeacherModel.tokens_by_example`; an upper bound, the same for all."""
        nodes = int(self.trie.inner.sum()) if self.rank_by == "likelihood" else 0
        tokens = float(self.prompts.longest(self.num_candidates) + nodes)
        return torch.full((len(dataset.examples["train"]),), tokens, dtype=torch.float64)

    def gates(self, history: Tensor) -> Tensor:
        """See `GatedLanguageModel.gates`."""
        return self.router(self.user_states(history))

    def prompt_lengths(self, history: Tensor) -> Tensor:
        """See `TeacherModel.prompt_lengths`; an upper bound, the same for all."""
        return torch.full((len(history),), self.prompts.longest(self.num_candidates))

    @property
    def rows_at_once(self) -> int:
        """How many examples are ranked, or answered, in one pass."""
        return max(1, self.max_tokens // (2 * self.prompts.longest(self.num_candidates)))

    def _choice_prompts(self, history: Tensor, example_ids: Tensor) -> ChoicePrompts:
        best = self.user_encoder.predict(history).topk(self.num_candidates, dim=1).indices + 1
        candidates = shuffled(best, example_ids, self.seed)
        return self.prompts.build(history, candidates, template=0, with_markers=True)

    def _scores(self, history: Tensor, prompt: ChoicePrompts) -> Tensor:
        return (self._likelihoods if self.rank_by == "likelihood" else self._closeness)(history, prompt)

    def _closeness(self, history: Tensor, prompt: ChoicePrompts) -> Tensor:
        """Returns `[B, num_items]`, minus the distance between the title that was written and each item's."""
        written = self._encoded(self._answers(history, prompt))
        with float32_scores(history.device):
            return -torch.cdist(written.to(history.device), self.written_titles)

    def _encoded(self, texts: list[str]) -> Tensor:
        """Returns `[n, d_llm]` float32 of what was written, or could be; where nothing was, of the end of text."""
        device = next(self.language_model.parameters()).device
        with self.binding.disabled(), float32_scores(device):
            ids = [each or [self.tokenizer.eos_token_id] for each in self.tokenizer(texts).input_ids]
            return encode_texts(without_head(self.language_model), ids, self.pooling, self.max_tokens)

    def _likelihoods(self, history: Tensor, prompt: ChoicePrompts) -> Tensor:
        """Returns `[B, num_items]`, the log-likelihoods of the items' titles."""
        attended = prompt.token_ids != PADDING_ID
        with self.binding.bind(self.gates(history)):
            embeddings = self.embedded(prompt.token_ids, prompt.marked_items)
            return title_likelihoods(self.language_model, embeddings, attended, self.trie, self.max_tokens)
