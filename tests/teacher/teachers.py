"""A teacher small enough for tests: the random two-layer language model over an untrained SASRec."""

import torch
from torch import nn
from transformers import PreTrainedModel

from src.data.dataset import Dataset, ExampleBatch
from src.student.models import SASRec
from src.teacher.choices import ROUTERS
from src.teacher.gating import PerLayerRouter
from src.teacher.ilora_model import ILoRAModel
from src.teacher.language_model.encodings import encode_texts
from src.teacher.language_model.tiny import tiny_random
from src.teacher.moe_lora_model import inject_adapters, target_layers
from src.teacher.prompts.prompt import PromptBuilder

TEMPLATE = "Seen: [HistoryHere]. Next is"
HISTORY_LENGTH = 8


def prompt_builder(titles: list[str], prompt_items: int = 4, prompt_tokens: int = 1000) -> PromptBuilder:
    return PromptBuilder(tiny_random()[1], TEMPLATE, titles, prompt_items, title_tokens=12, max_tokens=prompt_tokens)


def tiny_teacher(
    dataset: Dataset,
    *,
    seed: int = 0,
    pooling: str = "mean",
    router: str = "linear",
    dropout: float = 0.0,
    max_tokens: int = 400,
    adapters_at_work: bool = True,
    kind: type[ILoRAModel] = ILoRAModel,
    prompt_items: int = 4,
    prompt_tokens: int = 1000,
    history_length: int = HISTORY_LENGTH,
    language_model: PreTrainedModel | None = None,
    gate_input: str = "student",
    gate_per_layer: bool = False,
    shows_ids: bool = True,
) -> ILoRAModel:
    """A fresh teacher in evaluation mode; `adapters_at_work` fills lora_B, which starts at zero, at random."""
    torch.manual_seed(seed)
    bidirectional, tokenizer = tiny_random()
    language_model = language_model or bidirectional
    texts = encode_texts(language_model, tokenizer(dataset.catalogue.texts).input_ids, pooling, max_tokens)
    mixtures = len(target_layers(language_model, "all-linear")) if gate_per_layer else 1
    routers = [ROUTERS[router](32 if gate_input == "h_seq" else 16, 4) for _ in range(mixtures)]
    student = SASRec(dataset.num_items, 16, history_length, num_blocks=1, num_heads=2, dropout=0.5)
    binding = inject_adapters(
        language_model, "all-linear", r=8, num_experts=4, alpha=32, dropout=dropout, gate_per_layer=gate_per_layer
    )
    teacher = kind(
        language_model,
        binding,
        prompt_builder(dataset.catalogue.titles, prompt_items, prompt_tokens),
        student,
        PerLayerRouter(routers) if gate_per_layer else routers[0],
        texts,
        dataset.train_item_counts(),
        pooling=pooling,
        max_tokens=max_tokens,
        gate_input=gate_input,
        shows_ids=shows_ids,
    )
    if adapters_at_work:
        for name, parameter in teacher.named_parameters():
            if name.endswith("lora_B"):
                nn.init.normal_(parameter, std=0.1)
    return teacher.eval()


def first_batch(dataset: Dataset, size: int, split: str = "train") -> ExampleBatch:
    return dataset.batch(dataset.examples[split].subset(torch.arange(size)), HISTORY_LENGTH)
