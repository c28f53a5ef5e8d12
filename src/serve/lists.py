"""Recommendations that were made beforehand, by what is too slow to be asked: a file of `run_recommend` in memory."""

import logging
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import Self

from ..core.artefact import sha256_of
from ..core.errors import UserError
from .answers import Answer, Recommendation
from .files import ServedFiles

COLUMNS = {"user": pl.String, "rank": pl.Int32, "item": pl.String, "score": pl.Float32, "by": pl.String}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lists:
    """What is recommended to each of many users, in few arrays: 112 MiB for a million lists of ten items.

    name: The file's, without its ending.
    version: 16 hex digits that change with the file.
    raw_ids, titles: Of item number i + 1 at i, as the served model has them with which the file was read.
    users: Raw ids in the order of their code points, each once.
    first, lengths: `[users]` int64 and int32: the list of user u is `items[first[u] : first[u] + lengths[u]]`.
    by_popularity: `[users]` bool: nothing was known of him; his scores are training interactions.
    items: `[rows]` int32 item numbers, of each list best first.
    scores: `[rows]` float32.
    """

    name: str
    version: str
    raw_ids: list[str]
    titles: list[str]
    users: pl.Series
    first: np.ndarray
    lengths: np.ndarray
    by_popularity: np.ndarray
    items: np.ndarray
    scores: np.ndarray

    @classmethod
    def read(cls, path: Path, files: ServedFiles) -> Self:
        """Reads a file of `recommend_to_file`; who stands in it twice has the first of his lists.

        Users that the log of `files` does not know are passed over, and counted in the log: a file may be of another
        night's log, or of a list of users.

        Args:
            path: .parquet or .csv.
            files: Of the model that is served: whose users and items the file must name.

        Raises:
            UserError: It is no such file, names an item that the catalogue does not know, or no user of the log.
        """
        rows = _rows(path)
        items = _numbers(path, rows["item"], files)
        first = np.flatnonzero(rows["rank"].to_numpy() == 1)
        lengths = np.diff(first, append=len(rows))
        _check_order(path, rows, first, lengths)
        lists = pl.DataFrame(
            {
                "user": rows["user"].gather(first),
                "first": first,
                "length": pl.Series(lengths, dtype=pl.Int32),
                "by_popularity": rows["by"].gather(first) == "popularity",
            }
        ).unique("user", keep="first")
        known = lists.filter(pl.col("user").is_in(files.raw_user_ids)).sort("user")
        if known.is_empty():
            raise UserError(
                f"{path} names no user of the log that {files.name} was made of ({files.dataset}): give a file of the "
                "same dataset."
            )
        if len(known) < len(lists):
            log.warning("%s: %d users whom the log does not know are passed over", path, len(lists) - len(known))
        return cls(
            name=path.stem,
            version=sha256_of(path)[:16],
            raw_ids=files.raw_ids,
            titles=files.titles,
            users=known["user"],
            first=known["first"].to_numpy(),
            lengths=known["length"].to_numpy(),
            by_popularity=known["by_popularity"].to_numpy(),
            items=items,
            scores=rows["score"].to_numpy(),
        )

    def of(self, user: str) -> Answer | None:
        """Returns the list of a user; None where there is none."""
        place = bisect_left(self.users, user)
        if place == len(self.users) or self.users[place] != user:
            return None
        rows = slice(self.first[place], self.first[place] + self.lengths[place])
        return Answer(
            "popularity" if self.by_popularity[place] else "precomputed",
            [
                Recommendation(self.raw_ids[item - 1], self.titles[item - 1], score)
                for item, score in zip(self.items[rows].tolist(), self.scores[rows].tolist(), strict=True)
            ],
        )


def _rows(path: Path) -> pl.DataFrame:
    """Returns the columns of a file that are read.

    Raises:
        UserError: It is no table, or lacks some.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise _no_lists(path, "it must end in .parquet or .csv")
    try:
        if path.suffix == ".csv":
            found = pl.read_csv(path, columns=list(COLUMNS), schema_overrides=COLUMNS, glob=False)
        else:
            found = pl.read_parquet(path, columns=list(COLUMNS), glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _no_lists(path, str(error).partition("\n")[0]) from None
    for name, kind in COLUMNS.items():
        if found[name].dtype != kind or found[name].has_nulls():
            raise _no_lists(path, f"column {name}: {found[name].dtype}, {found[name].null_count()} missing")
    if not found["score"].is_finite().all():
        raise _no_lists(path, "column score holds what is no finite number")
    return found


def _numbers(path: Path, items: pl.Series, files: ServedFiles) -> np.ndarray:
    """Returns the item numbers `[rows]` int32 of raw ids.

    Raises:
        UserError: The catalogue does not know one.
    """
    catalogue = pl.DataFrame(
        {"item": files.raw_ids, "number": pl.Series(range(1, files.num_items + 1), dtype=pl.Int32)}
    )
    found = items.to_frame("item").join(catalogue, on="item", how="left", maintain_order="left")
    unknown = found.filter(pl.col("number").is_null())
    if len(unknown):
        raise UserError(
            f"{path} recommends item {unknown['item'][0]!r}, which is not in the catalogue of {files.name}: give a "
            "file of the same dataset, or serve a model that knows it."
        )
    return found["number"].to_numpy()


def _check_order(path: Path, rows: pl.DataFrame, first: np.ndarray, lengths: np.ndarray) -> None:
    """Makes sure that ranks count up from 1 within each user.

    Raises:
        UserError: They do not.
    """
    owner = np.repeat(first, lengths)
    if len(owner) < len(rows):  # before the first 1
        wrong = 0
    else:
        right = rows["rank"].to_numpy() == np.arange(len(rows)) - owner + 1
        right &= (rows["user"] == rows["user"].gather(owner)).to_numpy()
        wrong = int(right.argmin()) if len(rows) and not right.all() else len(rows)
    if wrong < len(rows):
        raise _no_lists(path, f"row {wrong + 1}: the ranks of a user do not count up from 1")


def _no_lists(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is no file of recommendations ({why}): make it with `run_recommend`, the teacher's with "
        "recommend.by=teacher."
    )
