"""One pass per user instead of one per example: a history is read once, and every prefix of it scores the next item."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UserError
from ..data.batches import token_batches
from ..data.dataset import Dataset, Examples
from ..data.rows import ChosenRows, Rows, TrainingBatch, TrainingWindows, WindowBatch, newest
from ..student.models import SequentialRecommender
from .ilora_model import ILoRAModel
from .interfaces import AS_RANKED, Presentation, Reading, Scored
from .language_model.visibility import asking, is_causal, keeps_to_mask, masks_agree
from .prompts.prompt import MARKER_ID, PADDING_ID
from .prompts.user_prompt import UserPromptBatch, UserPrompts, block_causal_mask


class UserPassModel(ILoRAModel):
    """`ILoRAModel` whose `h_seq` of a prefix is the state at the marker of its last item, all prefixes in one pass.

    A prompt is a whole history. What stands behind an item is hidden from it: by the causal mask of a causal language
    model, by `block_causal_mask` in an encoder. The adapters take gates per token, so that every token is read with the
    mixture of its own prefix: that of its item and all items before. A history of n items costs one reading of its
    titles instead of n readings of up to n titles.

    Against one prompt per example: earlier titles are read with earlier gates, the words behind the history are left
    out, and in an encoder earlier titles cannot look at later ones.

    Args: As `ILoRAModel`.

    Raises:
        UserError: The language model cannot be kept from reading ahead, or not without a change of what else it reads;
            or the longest titles of the catalogue would not fit into a prompt, as many as it shows.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        instead = "set teacher.reading=example, or use another language model (teacher.llm)"
        with self.binding.disabled(), asking(self.language_model, instead):
            self.causal = is_causal(self.language_model)
            hides = self.causal or keeps_to_mask(self.language_model, additive=False)
        if not hides:
            raise UserError(
                f"{type(self.language_model).__name__} reads a text in both directions and overlooks a mask that hides "
                "later items, so that with teacher.reading=user every item would see its target: "
                f"{instead}."
            )
        self.user_prompts = UserPrompts(self.prompts)
        longest = self.user_prompts.longest(self.window_length)
        if longest > self.prompts.max_tokens:
            raise UserError(
                f"{self.window_length} titles read in one pass take up to {longest} tokens, but a prompt may have "
                f"{self.prompts.max_tokens}: lower teacher.prompt.items or teacher.prompt.title_tokens."
            )
        with self.binding.disabled(), asking(self.language_model, instead):
            whole = self.causal or masks_agree(self.language_model, longest)
        if not whole:
            raise UserError(
                f"{type(self.language_model).__name__} reads texts of {longest} tokens through a shorter window, which "
                "the mask that hides later items would take away: set teacher.reading=example, lower "
                "teacher.prompt.items, or use another language model (teacher.llm)."
            )

    @property
    def window_length(self) -> int:
        """The most items of a history that are read in one pass; the frozen student may look at more when it ranks."""
        return min(self.prompts.prompt_items, self.user_encoder.history_length)

    def prompt_lengths(self, history: Tensor) -> Tensor:
        """See `TeacherModel.prompt_lengths`."""
        return self.user_prompts.lengths(newest(history, self.window_length))

    def catalogue_scores(self, history: Tensor, items: Tensor) -> Tensor:
        """See `ILoRAModel.catalogue_scores`."""
        history = newest(history, self.window_length)
        rows, last = torch.arange(len(history), device=history.device), (history > 0).sum(1) - 1
        return self.scores_of(self.prefix_representations(history)[rows, last], items)

    def training_loss(self, batch: TrainingBatch, shown: Presentation = AS_RANKED) -> Tensor:
        """Cross-entropy over the whole catalogue at every position of a window that has a target."""
        real = batch.target > 0
        return self.catalogue_loss(self.prefix_representations(batch.history)[real], batch.target[real])

    def gates(self, history: Tensor) -> Tensor:
        """See `GatedLanguageModel.gates`: those after the last item, which its own tokens are read with."""
        history = newest(history, self.window_length)
        rows, last = torch.arange(len(history), device=history.device), (history > 0).sum(1) - 1
        return self.prefix_gates(history, self.user_prompts.build(history))[rows, last]

    def prefix_representations(self, history: Tensor) -> Tensor:
        """Returns `[B, L, d_llm]`, the state at each item's marker, for histories `[B, L]`; 0 at padding."""
        prompt = self.user_prompts.build(history)
        gates = self.prefix_gates(history, prompt)
        place = prompt.place.clamp(max=history.shape[1] - 1)  # padding has some gates too
        with self.binding.bind(gates.gather(1, place.unsqueeze(-1).expand(-1, -1, gates.shape[-1]))):
            return self._states(history, prompt)

    def prefix_gates(self, history: Tensor, prompt: UserPromptBatch) -> Tensor:
        """Returns the experts' weights after each item of histories `[B, L]`, `[B, L, E]`; 0 at padding.

        The router is shown what is real: one that looks at its batch as a whole would count padding as users.
        """
        real = history > 0
        if self.gate_input == "student":
            states = prefix_states(self.user_encoder, history)
        else:
            with torch.no_grad(), self.binding.disabled():
                states = self._states(history, prompt).float()
        gates = self.router(states[real])
        return gates.new_zeros(*history.shape, gates.shape[1]).masked_scatter(real.unsqueeze(-1), gates)

    def training_rows(
        self, dataset: Dataset, most: int, generator: torch.Generator
    ) -> tuple[Rows[TrainingBatch], Tensor]:
        """See `TeacherModel.training_rows`; rows are windows, drawn until they hold `most` examples."""
        windows = TrainingWindows(dataset, self.window_length)
        lengths = self._window_lengths(dataset, windows)
        if most == -1:
            return windows, lengths
        drawn = torch.randperm(len(windows), generator=generator)
        before = windows.num_targets[drawn].cumsum(0) - windows.num_targets[drawn]
        drawn = drawn[before < most]
        return ChosenRows(windows, drawn), lengths[drawn]

    def readings(self, dataset: Dataset, examples: Examples) -> Sequence[Reading]:
        """See `TeacherModel.readings`; a window is read whole, and once, if one of its examples is asked for."""
        first = int(dataset.examples["train"].example_id[0])
        row_of_example = torch.full((len(dataset.examples["train"]) + 1,), -1)  # the last one: no example
        row_of_example[examples.example_id - first] = torch.arange(len(examples))
        windows, items = TrainingWindows(dataset, self.window_length), cache(self.item_embeddings)
        asked = self.read_together(dataset)[examples.example_id - first].unique()
        lengths = self._window_lengths(dataset, windows)[asked]

        def rows_of(batch: WindowBatch) -> Tensor:
            """Returns `[B, L]`, -1 where nothing is asked."""
            return row_of_example[torch.where(batch.example_id < 0, -1, batch.example_id - first)]

        @torch.no_grad()
        def read(chosen: Tensor) -> Scored:
            batch = windows[asked[chosen]]
            wanted, device = rows_of(batch), self.item_texts.device
            at = wanted >= 0
            h_seq = self.prefix_representations(batch.history.to(device))[at.to(device)]
            whole = dataset.batch(examples.subset(wanted[at]), self.history_length).history.to(device)
            return self.scored(wanted[at], h_seq, items(), whole, int(lengths[chosen].sum()))

        found = []
        for chosen in token_batches(lengths, self.max_tokens):
            rows = rows_of(windows[asked[chosen]])
            found.append(Reading(rows[rows >= 0], partial(read, chosen)))
        return found

    def read_together(self, dataset: Dataset) -> Tensor:
        """See `TeacherModel.read_together`: a window's examples."""
        windows = TrainingWindows(dataset, self.window_length)
        window = torch.empty(len(dataset.examples["train"]), dtype=torch.long)
        first = dataset.examples["train"].example_id[0]
        place = torch.repeat_interleave(torch.arange(len(windows)), windows.num_targets)
        starts = windows.num_targets.cumsum(0) - windows.num_targets
        log_index = windows.first_target[place] + torch.arange(len(place)) - starts[place]
        window[dataset.example_of_interaction()[log_index] - first] = place
        return window

    def tokens_by_example(self, dataset: Dataset) -> Tensor:
        """See `TeacherModel.tokens_by_example`."""
        windows = TrainingWindows(dataset, self.window_length)
        share = self._window_lengths(dataset, windows).double() / windows.num_targets
        return share[self.read_together(dataset)]

    def _window_lengths(self, dataset: Dataset, windows: TrainingWindows) -> Tensor:
        """Returns the tokens of each window's prompt, `[windows]` int64."""
        until = F.pad(self.user_prompts.piece_lengths[dataset.item_log].cumsum(0), (1, 0))
        first = windows.first_target - 1
        return self.user_prompts.fixed + until[first + windows.num_targets] - until[first]

    def _states(self, history: Tensor, prompt: UserPromptBatch) -> Tensor:
        hidden = self.language_model(
            inputs_embeds=self.embedded(prompt.token_ids, prompt.marked_items), attention_mask=self._mask(prompt)
        ).last_hidden_state
        at_markers = hidden[prompt.token_ids == MARKER_ID]
        states = at_markers.new_zeros(*history.shape, at_markers.shape[1])
        return states.masked_scatter((history > 0).unsqueeze(-1), at_markers)

    def _mask(self, prompt: UserPromptBatch) -> Tensor:
        if self.causal:
            return (prompt.token_ids != PADDING_ID).long()  # the model's own causal mask does the rest
        return block_causal_mask(prompt.place)


def prefix_states(encoder: SequentialRecommender, history: Tensor) -> Tensor:
    """Returns `[B, L, D]`: the encoder's representation of every prefix of histories `[B, L]`; anything at padding."""
    if encoder.causal:
        return encoder.encode(history)
    real = history > 0
    row, place = real.nonzero(as_tuple=True)
    prefixes = history[row].where(torch.arange(history.shape[1], device=history.device) <= place.unsqueeze(1), 0)
    states = encoder.user_representation(prefixes)
    return states.new_zeros(*history.shape, states.shape[1]).masked_scatter(real.unsqueeze(-1), states)
