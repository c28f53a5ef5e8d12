"""Students as artefacts: weights in safetensors, everything needed to build them again in the manifest."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from ..core.artefact import STUDENT, opened, writing
from ..core.errors import UserError
from ..data.dataset import Dataset
from .factory import create_student
from .models import SequentialRecommender

WEIGHTS = "model.safetensors"


def save_student(
    folder: Path, model: SequentialRecommender, name: str, architecture: dict[str, Any], manifest: dict[str, Any]
) -> None:
    """Writes `folder` whole or not at all.

    Args:
        folder: Becomes the artefact.
        model: A trained student, its teacher folded in.
        name, architecture: What `create_student` built it from.
        manifest: What it was made from, with its dataset's fingerprint under "dataset_fingerprint".
    """
    about = {"name": name, "architecture": architecture, "num_items": model.num_items}
    with writing(folder, STUDENT, {**about, **manifest}) as temporary:
        save_file(model.state_dict(), temporary / WEIGHTS)


def load_student(folder: Path, dataset: Dataset) -> SequentialRecommender:
    """Returns the student of an artefact, in evaluation mode.

    Raises:
        UserError: `folder` holds no student, one that has changed since, or one trained on another dataset.
    """
    manifest = opened(folder, STUDENT)
    if manifest["dataset_fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"The student in {folder} was trained on dataset {manifest['dataset_fingerprint']}, not on {dataset.name} "
            f"{dataset.fingerprint}: train one on this dataset or change the path."
        )
    model = create_student(manifest["name"], manifest["num_items"], manifest["architecture"])
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval()
