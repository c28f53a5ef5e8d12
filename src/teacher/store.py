"""Teachers as artefacts: what training changed, in safetensors; the frozen language model stays out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..core.artefact import MANIFEST, TEACHER, opened, read_tensors, writing
from ..core.errors import UserError
from ..core.paths import command_line
from ..data.dataset import Dataset
from .gated_model import GatedLanguageModel
from .settings import TeacherSettings

WEIGHTS = "trained.safetensors"


def save_trained(folder: Path, model: GatedLanguageModel, manifest: dict[str, Any]) -> None:
    """Writes what training changed to `folder`, whole or not at all; the frozen language model stays out."""
    with writing(folder, TEACHER, manifest) as temporary:
        save_file({name: value.contiguous() for name, value in model.trained_state().items()}, temporary / WEIGHTS)


def load_trained(
    create: Callable[[Tensor | None], GatedLanguageModel], folder: Path, dataset: Dataset, settings: TeacherSettings
) -> GatedLanguageModel:
    """Puts the trained part of an artefact into a freshly created teacher and returns it in evaluation mode.

    Args:
        create: Calls `create_teacher` with the same `settings`; takes the encodings of the items' texts that the
            teacher was trained with, so that no text is encoded again, or None where its file has none.
        folder: The artefact.
        dataset: The one that the teacher ranks.

    Raises:
        UserError: `folder` holds no teacher, or one of another dataset, language model or architecture; names both.
    """
    manifest = opened(folder, TEACHER, "dataset_fingerprint", "settings")
    train = f"train one with `{command_line('run_teacher')} dataset={dataset.name}` and the same overrides"
    wanted = {"dataset_fingerprint": dataset.fingerprint, **_architecture(settings.plain())}
    try:
        theirs = {"dataset_fingerprint": manifest["dataset_fingerprint"], **_architecture(manifest["settings"])}
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / MANIFEST} describes no teacher (settings: {error}): {train}.") from None
    differ = [f"{key} {theirs[key]} instead of {value}" for key, value in wanted.items() if theirs[key] != value]
    trained = read_tensors(folder / WEIGHTS)
    model = None if differ else create(trained.get("item_texts"))
    if model is not None and _shapes(trained) != _shapes(model.trained_state()):
        differ = ["a student of another size"]
    if model is None or differ:
        raise UserError(f"The teacher in {folder} was made for {', '.join(differ)}: {train}.")
    model.load_state_dict(trained, strict=False)  # the frozen weights are there already
    return model.eval()


def _architecture(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns what the trained part of a teacher fits: a language model and what was built around it."""
    names = ("objective", "reading", "mode", "router", "gate_input", "gate_per_layer", "lora")
    return {"language model": settings["llm"]["name"]} | {n: settings[n] for n in names}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
