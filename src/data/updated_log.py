"""A prepared dataset and what happened since → the tables of a log, which is prepared like anyone's own."""

from pathlib import Path
from typing import Any

import polars as pl

from .raw.columns import JOINED
from .raw.times import TICKS
from .settings import DatasetSettings

LOG, ITEMS = "interactions.parquet", "items.parquet"
COLUMNS = {
    "user": "user", "item": "item", "timestamp": "timestamp", "rating": None, "part": "part", "session": None,
    "item_key": "item", "title": "title", "texts": ["more"],
}  # fmt: skip
FEWEST = 3  # interactions of a user of whom the last two are held out


def as_log(folder: Path, ticks: int) -> pl.DataFrame:
    """Returns the interactions of a prepared dataset by raw id: `user` and `item`, texts, and `timestamp`.

    Args:
        folder: Of the dataset.
        ticks: How many of its times are a second.
    """
    log, items, users = (pl.read_parquet(folder / f"{name}.parquet") for name in ("interactions", "items", "users"))
    return pl.DataFrame(
        {
            "user": users["raw_id"].gather(log["user"]),
            "item": items["raw_id"].gather(log["item"] - 1),
            "timestamp": (log["timestamp"] * (TICKS // ticks)).cast(pl.Datetime("us")),
        }
    )


def as_items(items: pl.DataFrame) -> pl.DataFrame:
    """Returns items (`item`, `title`, `text`) as a table from which the same are read: `item`, `title`, `more`."""
    more = pl.col("text").str.strip_prefix(pl.col("title")).str.strip_prefix(JOINED)
    return items.select("item", "title", more.alias("more"))


def with_events(log: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Returns a log with events behind it.

    Args:
        log: See `as_log`.
        events: `user` and `item`, texts, and `time`, seconds since 1970; those of one time keep their order.
    """
    time = (events["time"] * TICKS).round().cast(pl.Int64).cast(pl.Datetime("us")).alias("timestamp")
    return pl.concat([log, events.select("user", "item").with_columns(time)])


def settings_of_log(settings: DatasetSettings, folder: Path) -> dict[str, Any]:
    """Returns what must be otherwise in `settings` for the log in `folder` to be prepared as the one before was.

    Its interactions were filtered already. A split that the raw files gave is one by their last two interactions now.
    """
    by_users = settings.split in ("leave_one_out", "given")
    return {
        "reader": "table",
        "interactions": str(folder / LOG),
        "items": str(folder / ITEMS),
        "columns": COLUMNS,
        "separator": None,
        "log_header": None,
        "items_header": None,
        "untitled": "keep",
        "limit_data_rows": -1,
        "min_rating": None,
        "min_user_interactions": max(settings.min_user_interactions, FEWEST if by_users else 0),
        "split": "leave_one_out" if by_users else settings.split,
    }
