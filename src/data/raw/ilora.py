"""iLoRA's own datasets: frames of windows for train, val and test, and the items' names."""

from pathlib import Path

import polars as pl

from ...core.errors import UserError
from ..conversion.frames import read_windows
from ..conversion.windows import SPLITS, as_log, put_together
from ..settings import DatasetSettings
from .columns import PARTS
from .layouts import Layout
from .lines import lines_of
from .movielens import read_u_item


def read_frames(paths: list[Path], settings: DatasetSettings) -> pl.DataFrame:
    """Reads the frames of train, val and test; a row of this log is a window, so that `limit_data_rows` counts these.

    Raises:
        UserError: A frame is missing or faulty.
    """
    frames = {split: read_windows(path)[: settings.row_limit] for split, path in zip(SPLITS, paths, strict=True)}
    log = as_log(put_together(frames))
    parts = pl.col("part").replace_strict(PARTS, return_dtype=pl.Int8)
    return log.with_columns(
        parts, *(pl.col(name).cast(pl.Enum(log[name].unique().sort())) for name in ("user", "item"))
    )


def read_names(path: Path) -> pl.DataFrame:
    """Returns `item` (the number in the frames, as a text), `title`, `text` of `id2name.txt` (`number::name`), or of
    MovieLens' `u.item`, which counts from 1 where the frames count from 0.

    Raises:
        UserError: There is no such file, it is no text, or it names a number twice.
    """
    if not path.is_file():
        raise UserError(f"There is no {path}: give the file of the items' names.")
    if path.name == "u.item":
        return read_u_item(path).with_columns((pl.col("item") - 1).cast(pl.String))
    parts = lines_of(path, "utf-8").str.splitn("::", 2).struct.unnest()
    again = (~parts["field_0"].is_first_distinct()).arg_true()
    if len(again):
        line = again[0]
        raise UserError(
            f"{path}, line {line + 1}: item {parts['field_0'][line]} is listed a second time; delete one of them."
        )
    title = parts["field_1"].str.strip_chars().alias("title")
    return pl.DataFrame({"item": parts["field_0"], "title": title, "text": title})


WINDOWS = Layout(read_frames, lambda path, settings: read_names(path), num_log_files=3, times=False)
