"""Layouts of raw files, one reader file for each kind; which are shipped."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.registry import Registry

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Layout:
    """How one kind of raw folder is read. A reader says which line is bad, or returns frames.

    A log has the columns `user`, `item` (int32 raw ids, or an Enum of texts in ascending order), `timestamp` (int64),
    where the layout has them `rating` (float32), `part` (a whole number, as in `core.data_utils`) and `session` (any),
    in the order of the file. Items have `item` (int32, or texts), `title`, `text`.

    read_log: Takes the log's files and the `DatasetSettings`, whose `row_limit` is the most rows read from each's top.
    read_items: Takes the item file and the `DatasetSettings`.
    num_log_files: The first so many of `dataset.files` are the log, the one after them the items.
    times: What `timestamp` is: True for real times, False for places in a user's sequence.
    ticks: How many of a time are a second.
    by_columns: Whether `dataset.columns` says what is read; the items' file may then be missing.
    """

    read_log: "Callable[[list[Path], Any], pl.DataFrame]"
    read_items: "Callable[[Path, Any], pl.DataFrame]"
    num_log_files: int
    times: bool
    ticks: int = 1
    by_columns: bool = False


LAYOUTS: Registry[Layout] = Registry(
    "dataset.reader",
    __package__,
    {
        "movielens_100k": "movielens:MOVIELENS_100K",
        "movielens_1m": "movielens:MOVIELENS_1M",
        "amazon_sequential_splits": "amazon:SEQUENTIAL_SPLITS",
        "amazon_sequential": "amazon:SEQUENTIAL",
        "table": "columns:TABLE",
        "amazon_reviews": "published:AMAZON_REVIEWS",
        "lastfm_tags": "published:LASTFM_TAGS",
        "steam": "published:STEAM",
        "steam_australian": "published:STEAM_AUSTRALIAN",
        "ilora_windows": "ilora:WINDOWS",
    },
    kind="layouts:Layout",
)
