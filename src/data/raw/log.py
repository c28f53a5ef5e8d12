"""A raw log that was found, and the fingerprint of the dataset that it makes; nothing of it is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.artefact import DATASET, fingerprint
from ...core.errors import UserError
from ..hashes import remembered_sha256
from ..settings import BY_SHARES, DatasetSettings
from .files import find_raw_folder, local_folder
from .layouts import LAYOUTS

# Settings that came later than datasets did: at their defaults they are in no key, so that what is there stays found.
LATER = ("columns", "separator", "log_header", "items_header", "untitled", "session_gap_minutes")
PACKED = ".gz"


@dataclass(frozen=True)
class RawLog:
    """Raw files that were found, and the fingerprint of what they and the settings make.

    paths: The log's files, then the items' where there are any.
    sha256: Of each file's contents, by name; of files of one's own by their key, `interactions` or `items`.
    """

    paths: list[Path]
    sha256: dict[str, str]
    fingerprint: str


def find_raw_log(settings: DatasetSettings, data_dirs: list[Path], fetch: bool = True) -> RawLog:
    """Finds a dataset's raw files, or fetches them.

    Args:
        settings: Key `dataset`.
        data_dirs: Where raw files are looked for, in order; those found nowhere are fetched into the last. Files that
            `dataset.interactions` and `dataset.items` name are looked for nowhere else.
        fetch: False: files that are found nowhere are told instead.

    Raises:
        UserError: Raw files are missing, or others than expected.
    """
    if settings.interactions is not None:
        named = {"interactions": settings.interactions, "items": settings.items}
        return _own_log(settings, named, data_dirs[-1] if data_dirs else None)
    if not settings.files:
        raise UserError("dataset.interactions does not name the log: give its file, dataset.interactions=log.csv.")
    if local_folder(settings, data_dirs) is None:
        check_layout(settings)  # nothing is fetched for settings that cannot be prepared
    folder, sha256 = find_raw_folder(settings, data_dirs, fetch)
    in_order = [[file.name, sha256[file.name]] for file in settings.files]  # which is train and which test
    return _raw_log([folder / file.name for file in settings.files], sha256, in_order, settings)


def _own_log(settings: DatasetSettings, named: dict[str, Path | None], remembered_in: Path | None) -> RawLog:
    """Returns files of one's own. Their endings say how they are read; what else they are called counts nowhere."""
    given = {key: path for key, path in named.items() if path is not None}
    sha256 = {}
    for key, path in given.items():
        try:
            sha256[key] = remembered_sha256(path, remembered_in)
        except OSError as error:
            raise UserError(
                f"dataset.{key}={path} cannot be read ({error.strerror}): give the path of a file, as seen from the "
                "folder in which the command is started."
            ) from None
    in_order = [["".join(ending_of(path)), sha256[key]] for key, path in given.items()]
    return _raw_log([*given.values()], sha256, in_order, settings)


def ending_of(path: Path) -> tuple[str, str]:
    """Returns what says how a table's file is read: `.csv`, and `.gz` or "" for what it is packed by."""
    packed = path.suffix.lower() if path.suffix.lower() == PACKED else ""
    return Path(path.stem if packed else path.name).suffix.lower(), packed


def _raw_log(paths: list[Path], sha256: dict[str, str], in_order: list[list[str]], settings: DatasetSettings) -> RawLog:
    return RawLog(paths, sha256, fingerprint(DATASET.format, in_order, settings_that_count(settings)))


def settings_that_count(settings: DatasetSettings) -> dict[str, Any]:
    """Returns what changes the dataset: not the prompt, nor where the files came from."""
    key = settings.key()
    if settings.split not in BY_SHARES:
        del key["val_share"], key["test_share"]
    for name in LATER:
        default = type(settings).model_fields[name].get_default(call_default_factory=True)
        if getattr(settings, name) == default or (name == "session_gap_minutes" and settings.split != "sessions"):
            del key[name]
    return key


def check_layout(settings: DatasetSettings) -> None:
    """Makes sure that the settings go with the layout that they name.

    Raises:
        UserError: Some do not; tells all at once.
    """
    layout, faults = LAYOUTS[settings.reader], []
    if settings.interactions is not None:
        what, num_files = "dataset.interactions and dataset.items name", 1 + (settings.items is not None)
    else:
        what, num_files = "dataset.files lists", len(settings.files)
    if num_files not in {layout.num_log_files + 1, layout.num_log_files + (not layout.by_columns)}:
        faults.append(f"{what} {num_files} files, but the reader takes {layout.num_log_files + 1}")
    if settings.split == "given" and layout.num_log_files == 1 and not layout.by_columns:
        faults.append(
            "dataset.split=given needs a reader with train, val and test files, such as amazon_sequential_splits"
        )
    timed = layout.times and not (layout.by_columns and settings.columns.timestamp is None)
    if settings.split in BY_SHARES and not timed:
        of = "dataset.columns.timestamp=null" if layout.by_columns else settings.reader
        faults.append(f"dataset.split={settings.split} needs real times, which {of} has not")
    if settings.split == "sessions" and settings.columns.session is not None and not layout.by_columns:
        faults.append(f"dataset.columns.session goes with dataset.reader=table alone, not with {settings.reader}")
    if faults:
        raise UserError("; ".join(faults) + ": change these settings.")
