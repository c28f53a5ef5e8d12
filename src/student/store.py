"""Students as artefacts: weights in safetensors, everything needed to build them again in the manifest."""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ..core.artefact import MANIFEST, STUDENT, opened, read_tensors, writing
from ..core.errors import UserError
from ..core.settings_reading import read_settings
from ..data.dataset import Dataset
from .factory import create_student
from .models import SequentialRecommender
from .settings import settings_of_student

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
        UserError: `folder` holds no student, one that has changed since, one trained on another dataset, or weights of
            another student.
    """
    manifest = opened(folder, STUDENT, "dataset_fingerprint", "name", "architecture")
    if manifest["dataset_fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"The student in {folder} was trained on dataset {manifest['dataset_fingerprint']}, not on {dataset.name} "
            f"{dataset.fingerprint}: train one on this dataset or change the path."
        )
    model = create_student(manifest["name"], dataset.num_items, _architecture(folder, manifest))
    weights, own = read_tensors(folder / WEIGHTS), model.state_dict()
    differ = [name for name in {**own, **weights} if _shape(own, name) != _shape(weights, name)]
    if differ:
        raise UserError(
            f"{folder / WEIGHTS} holds {differ[0]} as {_shape(weights, differ[0])}, where the student of its "
            f"{MANIFEST} has {_shape(own, differ[0])}: copy the whole folder again, or train the student again."
        )
    model.load_state_dict(weights)
    return model.eval()


def _architecture(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(manifest["name"], str) or not isinstance(manifest["architecture"], dict):
        raise UserError(f"{folder / MANIFEST} describes no student: train it again.")
    try:
        return read_settings(settings_of_student(manifest["name"]), manifest["architecture"]).plain()
    except UserError as error:
        raise UserError(
            f"{folder / MANIFEST} describes no student ({str(error).rstrip('.')}): train it again."
        ) from None


def _shape(tensors: dict[str, Tensor], name: str) -> list[int] | None:
    return list(tensors[name].shape) if name in tensors else None
