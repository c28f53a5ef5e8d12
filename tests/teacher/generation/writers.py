"""A teacher of the generation objective small enough for tests."""

import torch
from transformers import PreTrainedModel

from src.student.models import SASRec
from src.teacher.choices import ROUTERS
from src.teacher.generation.model import ChoiceBatch, ChoiceRows, GenerationTeacher
from src.teacher.generation.prompt import ChoicePromptBuilder
from src.teacher.language_model.tiny import tiny_random_causal
from src.teacher.moe_lora_model import inject_adapters
from src.teacher.settings import GenerationSettings
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
TEMPLATES = ["Seen: [HistoryHere]. One of [CansHere] is next:", "From [HistoryHere] to [CansHere]:"]
HISTORY_LENGTH = 8


def prompts_of(prompt_items: int = 3, title_tokens: int = 8, max_tokens: int = 400) -> ChoicePromptBuilder:
    tokenizer = tiny_random_causal()[1]
    return ChoicePromptBuilder(tokenizer, TEMPLATES, DATASET.catalogue.titles, prompt_items, title_tokens, max_tokens)


def teacher_of(
    max_tokens: int = 2000,
    adapters_at_work: bool = True,
    rank_by: str = "likelihood",
    title_tokens: int = 8,
    pooling: str = "last",
    language_model: PreTrainedModel | None = None,
    prompts: ChoicePromptBuilder | None = None,
) -> GenerationTeacher:
    torch.manual_seed(0)
    model, tokenizer = tiny_random_causal()
    model = language_model or model
    binding = inject_adapters(model, "all-linear", r=8, num_experts=4, alpha=32, dropout=0.0)
    teacher = GenerationTeacher(
        model,
        binding,
        tokenizer,
        prompts or prompts_of(title_tokens=title_tokens),
        SASRec(DATASET.num_items, 16, HISTORY_LENGTH, num_blocks=1, num_heads=2, dropout=0.5),
        ROUTERS["linear"](16, 4),
        torch.randn(DATASET.num_items, 32),
        GenerationSettings(candidates=4, rank_by=rank_by, seed=0),
        max_tokens,
        pooling,
    )
    if adapters_at_work:
        for name, parameter in teacher.named_parameters():
            if name.endswith("lora_B"):
                torch.nn.init.normal_(parameter, std=0.1)
    return teacher.eval()


def batch_of(size: int = 4, split: str = "train") -> ChoiceBatch:
    rows = ChoiceRows(DATASET, DATASET.examples[split], HISTORY_LENGTH, False, candidates=4, seed=0)
    return rows[torch.arange(size)]
