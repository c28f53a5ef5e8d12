"""What all iLoRA teachers are: a frozen language model whose adapters are mixed anew for each user's history."""

from abc import abstractmethod
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..data.batches import token_batches
from ..data.dataset import Dataset
from ..data.rows import Batch
from ..student.models import SequentialRecommender
from .interfaces import TeacherModel
from .moe_lora_model import GateBinding, train_adapters
from .prompts.prompt import MARKER_ID


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
        last = cast("nn.Linear", self.layers[-1])  # a Sequential forgets what it holds
        last.weight.mul_(ratio)
        last.bias.mul_(ratio)


class GatedLanguageModel(TeacherModel[Batch]):
    """A language model with LoRA experts, the router that mixes them, and the frozen student that both are fed from.

    Trained: adapters, router, projector. Frozen: language model, student.

    Args:
        language_model: Reads `inputs_embeds`; has adapters already.
        binding: Theirs, from `inject_adapters`.
        user_encoder: A trained student.
        router: `[..., d_user]` to `[..., E]`.
    """

    ids_at_markers = True  # False: markers are one learned vector, whatever the item
    kept_buffers: ClassVar[frozenset[str]] = frozenset()  # saved with what was trained
    max_tokens: int  # padded tokens of one forward pass when ranking

    def __init__(
        self,
        language_model: PreTrainedModel,
        binding: GateBinding,
        user_encoder: SequentialRecommender,
        router: nn.Module,
    ) -> None:
        super().__init__()
        self.binding = binding
        self.language_model = language_model
        self.user_encoder = user_encoder.requires_grad_(False).eval()
        self.router = router
        words = cast("nn.Embedding", language_model.get_input_embeddings()).weight  # to Transformers, any Module
        self.projector = Projector(user_encoder.item_table().shape[1], words.shape[1])
        self.projector.match_scale(user_encoder.item_table()[1:], words)

    def train(self, mode: bool = True) -> "GatedLanguageModel":
        """Training mode for the trained parts; the frozen student and language model never drop anything."""
        super().train(mode)
        self.user_encoder.eval()
        train_adapters(self.language_model, mode)
        return self

    @property
    def history_length(self) -> int:
        """The most items of a history that are looked at: the user encoder's; a prompt shows its own newest part."""
        return self.user_encoder.history_length

    @abstractmethod
    def gates(self, history: Tensor) -> Tensor:
        """Returns the experts' weights for histories `[B, L]`, `[B, E]`, or `[B, layers * E]` (`GateBinding`)."""

    def user_states(self, history: Tensor) -> Tensor:
        """Returns the frozen student's representations `[B, d_user]` of histories `[B, L]`."""
        return self.user_encoder.user_representation(history)

    def trained_state(self) -> dict[str, Tensor]:
        """Returns what training changed, and the buffers that go with it: all but the frozen weights."""
        names = {name for name, parameter in self.named_parameters() if parameter.requires_grad} | self.kept_buffers
        names |= {f"router.{name}" for name, _ in self.router.named_buffers()}  # running statistics of the ResNet's
        return {name: value for name, value in self.state_dict().items() if name in names}

    def embedded(self, token_ids: Tensor, marked_items: Tensor) -> Tensor:
        """Returns `[B, T, d_llm]`: the embeddings of `token_ids [B, T]`, and at markers the projected item vectors, or
        without `ids_at_markers` the projection of nothing.

        Args:
            token_ids: `[B, T]` int64, `MARKER_ID` at markers, any negative number at padding.
            marked_items: `[markers]` int64 item numbers, in the order of the markers read row by row.
        """
        words = self.language_model.get_input_embeddings()(token_ids.clamp(min=0))
        vectors = self.user_encoder.item_table()[marked_items]
        projected = self.projector(vectors if self.ids_at_markers else torch.zeros_like(vectors)).to(words.dtype)
        return words.masked_scatter((token_ids == MARKER_ID).unsqueeze(-1), projected)


@torch.inference_mode()
def gates_of_users(model: GatedLanguageModel, dataset: Dataset, split: str, at_once: int) -> Tensor:
    """Returns the weights of the experts for each history of `split`, `[n, E]` float32, each row's sum 1; their mean
    over layers where each layer has gates of its own.

    Args:
        model: In evaluation mode.
        dataset: The one that it ranks.
        split: "val" or "test".
        at_once: Histories that are gathered together.
    """
    examples, device = dataset.examples[split], next(model.parameters()).device
    gates = []
    for part in torch.arange(len(examples)).split(at_once):
        history = dataset.batch(examples.subset(part), model.history_length).history.to(device)
        chosen = token_batches(model.prompt_lengths(history), model.max_tokens)
        read = torch.cat([model.gates(history[rows]).float() for rows in chosen])[torch.cat(chosen).argsort()]
        gates.append(read.unflatten(1, (model.binding.mixtures, -1)).mean(1).cpu())
    return torch.cat(gates)
