"""What all iLoRA teachers are: a frozen language model whose adapters are mixed anew for each user's history."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..student.models import SequentialRecommender
from .interfaces import TeacherModel
from .moe_lora_model import inject_adapters, train_adapters
from .prompt import MARKER_ID


class Projector(nn.Module):
    """`W2 GELU(W1 e + b1) + b2`: from the frozen student's item vectors to the language model's input space."""

    def __init__(self, d_item: int, d_llm: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_item, d_llm), nn.GELU(), nn.Linear(d_llm, d_llm))

    def forward(self, items: Tensor) -> Tensor:
        return self.layers(items)

    @torch.no_grad()
    def match_scale(self, items: Tensor, words: Tensor) -> None:
        """Scales the last layer so that projected `items [n, d_item]` are as large as word embeddings `words`.

        Markers that are far smaller or larger than words are ignored by the model, or drown the titles.
        """
        ratio = float(words.float().std()) / float(self(items).std())
        self.layers[-1].weight *= ratio
        self.layers[-1].bias *= ratio


class GatedLanguageModel(TeacherModel):
    """A language model with LoRA experts, the router that mixes them, and the frozen student that both are fed from.

    Trained: adapters, router, projector. Frozen: language model, student.

    Args:
        language_model: Reads `inputs_embeds`.
        user_encoder: A trained student.
        router: `[..., d_user]` to `[..., E]`.
        adapters: The settings of `inject_adapters`.
    """

    kept_buffers: ClassVar[frozenset[str]] = frozenset()  # saved with what was trained

    def __init__(
        self, language_model: PreTrainedModel, user_encoder: SequentialRecommender, router: nn.Module, **adapters: Any
    ) -> None:
        super().__init__()
        self.binding = inject_adapters(language_model, **adapters)
        self.language_model = language_model
        self.user_encoder = user_encoder.requires_grad_(False).eval()
        self.router = router
        words = language_model.get_input_embeddings().weight
        self.projector = Projector(user_encoder.item_table().shape[1], words.shape[1])
        self.projector.match_scale(user_encoder.item_table()[1:], words)

    def train(self, mode: bool = True) -> "GatedLanguageModel":
        """Training mode for the trained parts; the frozen student and language model never drop anything."""
        super().train(mode)
        self.user_encoder.eval()
        train_adapters(self.language_model, mode)
        return self

    def user_states(self, history: Tensor) -> Tensor:
        """Returns the frozen student's representations `[B, d_user]` of histories `[B, L]`."""
        return self.user_encoder.user_representation(history)

    def trained_state(self) -> dict[str, Tensor]:
        """Returns what training changed, and the buffers that go with it: all but the frozen weights."""
        names = {name for name, parameter in self.named_parameters() if parameter.requires_grad} | self.kept_buffers
        return {name: value for name, value in self.state_dict().items() if name in names}

    def embedded(self, token_ids: Tensor, marked_items: Tensor) -> Tensor:
        """Returns `[B, T, d_llm]`: the embeddings of `token_ids [B, T]`, and at markers the projected item vectors.

        Args:
            token_ids: `[B, T]` int64, `MARKER_ID` at markers, any negative number at padding.
            marked_items: `[markers]` int64 item numbers, in the order of the markers read row by row.
        """
        words = self.language_model.get_input_embeddings()(token_ids.clamp(min=0))
        projected = self.projector(self.user_encoder.item_table()[marked_items]).to(words.dtype)
        return words.masked_scatter((token_ids == MARKER_ID).unsqueeze(-1), projected)
