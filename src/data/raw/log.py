"""A raw log that was found, and the fingerprint of the dataset that it makes; nothing of it is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.artefact import fingerprint
from ...core.errors import UserError
from ..settings import DatasetSettings
from .files import find_raw_folder, local_folder
from .layouts import LAYOUTS

FORMAT = 3  # of the artefact; raise it when the same raw files and settings come to give other contents


@dataclass(frozen=True)
class RawLog:
    """Raw files that were found, and the fingerprint of what they and the settings make.

    sha256: Of each file's contents, by name.
    """

    folder: Path
    sha256: dict[str, str]
    fingerprint: str


def find_raw_log(settings: DatasetSettings, data_dirs: list[Path], fetch: bool = True) -> RawLog:
    """Finds a dataset's raw files, or fetches them.

    Args:
        settings: Key `dataset`.
        data_dirs: Where raw files are looked for, in order; those found nowhere are fetched into the last.
        fetch: False: files that are found nowhere are told instead.

    Raises:
        UserError: Raw files are missing, or others than expected.
    """
    if local_folder(settings, data_dirs) is None:
        check_layout(settings)  # nothing is fetched for settings that cannot be prepared
    folder, sha256 = find_raw_folder(settings, data_dirs, fetch)
    in_order = [[file.name, sha256[file.name]] for file in settings.files]  # which is train and which test
    return RawLog(folder, sha256, fingerprint(FORMAT, in_order, settings_that_count(settings)))


def settings_that_count(settings: DatasetSettings) -> dict[str, Any]:
    """Returns what changes the dataset: not the prompt, nor where the files came from."""
    key = settings.key()
    if settings.split != "global_time":
        del key["val_share"], key["test_share"]
    return key


def check_layout(settings: DatasetSettings) -> None:
    """Makes sure that the settings go with the layout that they name.

    Raises:
        UserError: Some do not; tells all at once.
    """
    layout, faults = LAYOUTS[settings.reader], []
    if len(settings.files) != layout.num_log_files + 1:
        faults.append(
            f"dataset.files lists {len(settings.files)} files, but the reader takes {layout.num_log_files + 1}"
        )
    if settings.split == "given" and layout.num_log_files == 1:
        faults.append(
            "dataset.split=given needs a reader with train, val and test files, such as amazon_sequential_splits"
        )
    if settings.split == "global_time" and not layout.times:
        faults.append(f"dataset.split=global_time needs real times, which {settings.reader} has not")
    if faults:
        raise UserError("; ".join(faults) + ": change these settings.")
