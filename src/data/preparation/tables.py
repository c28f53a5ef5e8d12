"""The tables of a prepared dataset."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from ...core.data_utils import examples_of, users_of
from ...core.errors import UserError
from ..settings import DatasetSettings
from .filtering import NO_TITLE
from .splitting import PARTS, refuse_lacking

COLUMNS = {
    "interactions": ["user", "item", "timestamp", "position"],
    "users": ["user", "raw_id", "num_interactions", "num_train"],
}

log = logging.getLogger(__name__)


def items_of(
    raw_items: pl.Series, known: pl.DataFrame | None, paths: list[Path], settings: DatasetSettings
) -> pl.DataFrame:
    """Returns `item`, `raw_id`, `title`, `text` of the items in the log, in the order of their numbers."""
    if known is None:
        items = pl.DataFrame({"item": raw_items}).with_columns(title=pl.lit(""), text=pl.lit(""))
    else:
        items = pl.DataFrame({"item": raw_items.cast(known["item"].dtype)})
        items = items.join(known, on="item", how="left", maintain_order="left")
        twice = items.filter(~pl.col("item").is_first_distinct())
        if len(twice):  # all items behind it would get their neighbours' titles
            raise UserError(f"Item {twice['item'][0]} has several titles in {paths[-1]}: keep one.")
    items = items.with_columns(pl.col("title", "text").fill_null(""))
    untitled = items.filter(NO_TITLE)
    meant = known is None or settings.columns.title is None or settings.untitled == "keep"
    if len(untitled) and not meant:
        raise UserError(
            f"Item {untitled['item'][0]} of {paths[0]} has no title in {paths[-1]} ({len(untitled)} such items): "
            "add its line there, or set dataset.untitled=drop (without their interactions) or keep (without a teacher)."
        )
    if len(untitled):
        log.warning(
            "%d of %d items have no title: a language model has nothing to read of them, so no teacher can be trained "
            "here and encodings of titles say nothing; students learn from ids, or from files of another teacher "
            "(distill.teacher_outputs_path)",
            len(untitled),
            len(items),
        )
    number = pl.int_range(1, len(items) + 1, dtype=pl.Int32)
    return items.select(number.alias("item"), pl.col("item").cast(pl.String).alias("raw_id"), "title", "text")


def write_tables(
    folder: Path, groups: Iterable[pl.DataFrame], raw_users: pl.Series, items: pl.DataFrame, settings: DatasetSettings
) -> dict[str, int]:
    """Writes the tables of a dataset to `folder`; returns its counts.

    Args:
        folder: Where.
        groups: Whole users' interactions, by number, in order, with `position` and `part`; users in ascending order.
        raw_users: Ids by number.
        items: See `items_of`.
        settings: How the log was split.

    Raises:
        UserError: A part has no examples.
    """
    names = ["interactions", "users", *(f"examples_{split}" for split in PARTS)]
    parts: dict[str, list[Path]] = {name: [] for name in names}
    lengths = dict.fromkeys(names, 0)
    for number, interactions in enumerate(groups):
        tables = {"interactions": interactions, "users": users_of(interactions)}
        tables["users"] = tables["users"].with_columns(raw_id=raw_users.gather(tables["users"]["user"]).cast(pl.String))
        for split, part in PARTS.items():
            tables[f"examples_{split}"] = examples_of(interactions, part, lengths[f"examples_{split}"])
        for name, table in tables.items():
            parts[name].append(folder / f"{name}.parts" / f"{number}.parquet")
            parts[name][-1].parent.mkdir(exist_ok=True)
            table.select(COLUMNS.get(name, table.columns)).write_parquet(parts[name][-1], compression="lz4")
            lengths[name] += len(table)
    refuse_lacking([part for split, part in PARTS.items() if lengths[f"examples_{split}"]], settings)
    first_id = 0
    for name in names:
        whole = pl.scan_parquet(parts[name], glob=False)
        if name.startswith("examples"):
            whole = whole.with_columns(pl.col("example_id") + first_id)
            first_id += lengths[name]
        _write_table(whole, folder / f"{name}.parquet")
        shutil.rmtree(folder / f"{name}.parts")
    _write_table(items.lazy(), folder / "items.parquet")
    return {
        "users": lengths["users"],
        "items": len(items),
        "interactions": lengths["interactions"],
        "untitled_items": len(items.filter(NO_TITLE)),
        **{f"{split}_examples": lengths[f"examples_{split}"] for split in PARTS},
    }


def _write_table(table: pl.LazyFrame, path: Path) -> None:
    table.sink_parquet(path, compression="zstd", compression_level=1)
