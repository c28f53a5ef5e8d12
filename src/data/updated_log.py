"""A prepared dataset and what happened since → the tables of a log, which is prepared like anyone's own."""

import logging
from pathlib import Path
from typing import Any

import polars as pl

from .histories import joined
from .raw.columns import JOINED
from .raw.lines import CONTROL
from .raw.times import TICKS
from .settings import DatasetSettings

LOG, ITEMS, NEW_ITEMS = "interactions.parquet", "items.parquet", "new_items.parquet"
COLUMNS = {
    "user": "user", "item": "item", "timestamp": "timestamp", "rating": None, "part": "part", "session": None,
    "item_key": "item", "title": "title", "texts": ["more"],
}  # fmt: skip
FEWEST = 3  # interactions of a user of whom the last two are held out
LATEST = 1e12  # seconds: what a time of the service may be, and more

log = logging.getLogger(__name__)


def as_log(folder: Path, ticks: int) -> pl.DataFrame:
    """Returns the interactions of a prepared dataset by raw id: `user` and `item`, texts, and `timestamp`.

    Args:
        folder: Of the dataset.
        ticks: How many of its times are a second.
    """
    told, items, users = (pl.read_parquet(folder / f"{name}.parquet") for name in ("interactions", "items", "users"))
    return pl.DataFrame(
        {
            "user": users["raw_id"].gather(told["user"]),
            "item": items["raw_id"].gather(told["item"] - 1),
            "timestamp": (told["timestamp"] * (TICKS // ticks)).cast(pl.Datetime("us")),
        }
    )


def as_items(items: pl.DataFrame) -> pl.DataFrame:
    """Returns items (`item`, `title`, `text`) as a table from which the same are read: `item`, `title`, `more`."""
    title, text = pl.col("title"), pl.col("text")
    more = pl.when(text == title).then(pl.lit("")).otherwise(text.str.strip_prefix(title + JOINED))
    return items.select("item", "title", more.alias("more"))


def usable(events: pl.DataFrame, items: pl.Series) -> pl.DataFrame:
    """Returns the events of items that are known and of users that a log can name; tells how many are left out.

    Args:
        events: `user` and `item`, texts, and `time`.
        items: Raw ids of those that are known.
    """
    named = (pl.col("user").str.strip_chars() != "") & ~pl.col("user").str.contains(CONTROL)
    left = events.filter(pl.col("item").is_in(items.implode()) & named)
    if len(left) < len(events):
        log.warning(
            "%d of %d events are left out: neither the log nor serve.new_items knows their items by a text, or their "
            "users have no name that a log can hold",
            len(events) - len(left),
            len(events),
        )
    return left


def with_events(interactions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Returns a log with events behind it, as the service reads them: after all that the log has of their user, and
    without those that are its end already.

    Args:
        interactions: See `as_log`.
        events: `user` and `item`, texts, and `time`, seconds since 1970, oldest first.
    """
    theirs = interactions.filter(pl.col("user").is_in(events["user"].implode()))
    held = dict(theirs.group_by("user", maintain_order=True).agg("item").iter_rows())
    told_already = {
        user: len(held.get(user, [])) + len(items) - len(joined(held.get(user, []), items))
        for user, items in events.group_by("user", maintain_order=True).agg("item").iter_rows()
    }
    place = pl.int_range(pl.len()).over("user")
    new = events.filter(place >= pl.col("user").replace_strict(told_already, return_dtype=pl.Int64))
    last = theirs.group_by("user").agg(pl.col("timestamp").max().alias("last"))
    time = (pl.col("time").clip(-LATEST, LATEST) * TICKS).round().cast(pl.Int64).cast(pl.Datetime("us"))
    dated = new.join(last, on="user", how="left", maintain_order="left")
    return pl.concat([interactions, dated.select("user", "item", timestamp=pl.max_horizontal(time, "last"))])


def splits_by_user(settings: DatasetSettings) -> bool:
    """Returns whether the last two interactions of each user are held out of the log with the events."""
    return settings.split in ("leave_one_out", "given")


def settings_of_log(settings: DatasetSettings, folder: Path) -> dict[str, Any]:
    """Returns what must be otherwise in `settings` for the log in `folder` to be prepared as the one before was.

    Its interactions were filtered already, and events are not: an item taken once is one to learn of. A split that the
    raw files gave is one by the last two interactions of each user now.
    """
    by_users = splits_by_user(settings)
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
        "min_user_interactions": FEWEST if by_users else 0,
        "min_item_interactions": 0,
        "split": "leave_one_out" if by_users else settings.split,
    }
