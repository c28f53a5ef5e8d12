"""Frames of windows in, a log and its items out."""

from pathlib import Path

import polars as pl

from ...core.errors import UserError
from ..export.folder import exporting
from ..raw.ilora import read_names
from .frames import Window, read_windows
from .settings import ConvertSettings
from .windows import SPLITS, as_log, put_together


def convert(settings: ConvertSettings, folder: Path) -> dict[str, int]:
    """Writes `interactions.parquet` (`user`, `item`, `timestamp`, `part`, perhaps `rating`) and, where names are given,
    `items.parquet` (`item`, `title`); returns their counts.

    Items keep their numbers as ids. Users are numbered anew (`windows.put_together`), times are places in a user's log.

    Args:
        settings: Which files.
        folder: Becomes the folder of both tables.

    Raises:
        UserError: A file is missing or faulty, an item has no name, or `folder` holds something else.
    """
    given = settings.frames
    frames: dict[str, list[Window]] = {split: read_windows(given[split]) if split in given else [] for split in SPLITS}
    logs = put_together(frames)
    if not logs:
        raise UserError("There are no windows to convert: name frames by convert.train=, convert.val=, convert.test=.")
    interactions = as_log(logs)
    items = None if settings.names is None else _named(settings.names, interactions["item"])
    counts = {
        **{f"{split}_windows": len(windows) for split, windows in frames.items()},
        "windows_without_history": sum(not window.history for windows in frames.values() for window in windows),
        "users": len(logs),
        "interactions": len(interactions),
        "items": interactions["item"].n_unique(),
    }
    about = {"counts": counts, "frames": {split: str(path) for split, path in given.items()}}
    with exporting(folder, "converted", about) as temporary:
        interactions.write_parquet(temporary / "interactions.parquet")
        if items is not None:
            items.write_parquet(temporary / "items.parquet")
    return counts


def _named(path: Path, numbers: pl.Series) -> pl.DataFrame:
    """Returns `item`, `title` of a file of names, which must have all that the frames number."""
    items = read_names(path).select("item", "title")
    without = numbers.filter(~numbers.is_in(items.drop_nulls()["item"].implode()))
    if len(without):
        raise UserError(
            f"Item {without[0]} has no line in {path} ({without.n_unique()} such items): are these the frames' names?"
        )
    return items
