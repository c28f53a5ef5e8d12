"""Makes a teacher of its settings: language model, adapters, gates, prompts, objective."""

from pathlib import Path

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.catalogue import Catalogue
from ..data.dataset import Dataset
from ..student.models import SequentialRecommender
from .choices import TEACHERS
from .gated_model import GatedLanguageModel
from .gating import OneExpert, PerLayerRouter, create_router
from .generation.model import GenerationTeacher
from .generation.prompt import ChoicePromptBuilder
from .ilora_model import ILoRAModel
from .language_model.encodings import encodings_of
from .language_model.loading import load_language_model, resolve_pooling
from .language_model.recomputing import enable_gradient_checkpointing
from .moe_lora_model import GateBinding, inject_adapters, target_layers
from .prompts.prompt import PromptBuilder
from .prompts.titles import TITLE_FORMS
from .settings import PromptSettings, TeacherSettings
from .user_pass import UserPassModel

OURS = "ilora"  # the teacher that is made here
READINGS: dict[str, type[ILoRAModel]] = {"example": ILoRAModel, "user": UserPassModel}


def create_teacher(
    settings: TeacherSettings,
    dataset: Dataset,
    user_encoder: SequentialRecommender,
    template: str,
    language_models_dir: Path,
    item_texts: Tensor | None = None,
) -> GatedLanguageModel:
    """Returns an untrained teacher.

    Args:
        settings: Key `teacher`.
        dataset: A prepared dataset; its titles and texts are what the language model reads.
        user_encoder: A student trained on it.
        template: The prompt's text (`prompts.templates.read_template`).
        language_models_dir: Where language models lie.
        item_texts: `[num_items, d_llm]` encodings of the items' texts where they are known already; None: they are
            made. Teachers of one's own are not asked to take them.

    Raises:
        UserError: An unknown teacher, router or language model.
    """
    known = {} if item_texts is None or settings.name != OURS else {"item_texts": item_texts}
    return TEACHERS[settings.name](settings, dataset, user_encoder, template, language_models_dir, **known)


def create_ilora(
    settings: TeacherSettings,
    dataset: Dataset,
    user_encoder: SequentialRecommender,
    template: str,
    language_models_dir: Path,
    item_texts: Tensor | None = None,
) -> GatedLanguageModel:
    """Returns an untrained iLoRA teacher, see `create_teacher`."""
    generates, prompt = settings.objective == "generation", settings.prompt
    language_model, tokenizer = load_language_model(settings.llm, language_models_dir, head=generates)
    pooling = resolve_pooling(settings.llm.pooling, language_model)
    titles = [TITLE_FORMS[prompt.title_form](title) for title in dataset.catalogue.titles]
    router = _router(settings, language_model, user_encoder)
    texts = titles if generates else dataset.catalogue.texts
    encodings = item_texts
    if encodings is None or encodings.shape != (len(texts), language_model.config.hidden_size):
        encodings = encodings_of(texts, settings, language_model, tokenizer)
    binding = _adapted(settings, language_model)
    positions = language_model.config.max_position_embeddings
    teacher: GatedLanguageModel
    if generates:
        room = min(positions, prompt.max_tokens or positions) - prompt.title_tokens - 1  # for the answer
        teacher = GenerationTeacher(
            language_model,
            binding,
            tokenizer,
            ChoicePromptBuilder(tokenizer, template.splitlines(), titles, prompt.items, prompt.title_tokens, room),
            user_encoder,
            router,
            encodings,
            settings.generation,
            settings.eval_tokens,
            pooling,
        )
    else:
        teacher = READINGS[settings.reading](
            language_model,
            binding,
            create_prompts(prompt, dataset.catalogue, tokenizer, positions, template),
            user_encoder,
            router,
            encodings,
            dataset.train_item_counts(),
            pooling=pooling,
            max_tokens=settings.eval_tokens,
            gate_input=settings.gate_input,
            shows_ids=settings.shows_ids,
        )
    if settings.llm.gradient_checkpointing:
        enable_gradient_checkpointing(language_model, teacher.binding)
    return teacher


def create_prompts(
    settings: PromptSettings, catalogue: Catalogue, tokenizer: PreTrainedTokenizerBase, positions: int, template: str
) -> PromptBuilder:
    """Returns what writes the prompts of the ranking objective.

    Args:
        settings: Key `teacher.prompt`.
        catalogue: The titles.
        tokenizer, positions: The language model's; no prompt is longer than it has positions.
        template: Text with a place for the history.

    Raises:
        UserError: Titles and template do not make a prompt (`PromptBuilder`).
    """
    return PromptBuilder(
        tokenizer,
        template,
        [TITLE_FORMS[settings.title_form](title) for title in catalogue.titles],
        settings.items,
        settings.title_tokens,
        min(positions, settings.max_tokens or positions),
    )


def _target_modules(settings: TeacherSettings) -> str | list[str]:
    return [] if settings.mode == "freeze" else settings.llm.target_modules


def _router(
    settings: TeacherSettings, language_model: PreTrainedModel, user_encoder: SequentialRecommender
) -> nn.Module:
    if settings.mode != "ilora":
        return OneExpert()
    d_user = user_encoder.output_layer()[0].shape[1]  # wider than item vectors in some students
    d_gate = language_model.config.hidden_size if settings.gate_input == "h_seq" else d_user
    layers = len(target_layers(language_model, _target_modules(settings))) if settings.gate_per_layer else 1
    routers = [create_router(settings.router, d_gate, settings.lora.num_experts) for _ in range(layers)]
    return PerLayerRouter(routers) if settings.gate_per_layer else routers[0]


def _adapted(settings: TeacherSettings, language_model: PreTrainedModel) -> GateBinding:
    lora = settings.lora
    return inject_adapters(
        language_model,
        _target_modules(settings),
        r=lora.r,
        num_experts=1 if settings.mode == "lora" else lora.num_experts,
        alpha=lora.alpha,
        dropout=lora.dropout,
        gate_per_layer=settings.mode == "ilora" and settings.gate_per_layer,
    )
