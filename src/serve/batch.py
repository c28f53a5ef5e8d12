"""Recommendations for many users, written part by part: with the memory of one, and from where it was stopped."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl

from ..core.artefact import (
    fingerprint,
    making,
    on_disk,
    read_json,
    told_where_disk_is_full,
    unfinished,
    write_json,
)
from ..core.errors import UserError
from ..core.progress import progress
from .settings import EmptyHistory

ABOUT = "about.json"
SUFFIXES = (".parquet", ".csv")


class Known(Protocol):
    """What is known of a log; see `ServedFiles`.

    name, dataset: What recommends, and of which dataset, for people.
    version: Changes with whatever changes what is recommended.
    raw_ids, titles: Of item number i + 1 at i.
    raw_user_ids: Of every user.
    """

    @property
    def name(self) -> str: ...

    @property
    def dataset(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def raw_ids(self) -> Sequence[str]: ...

    @property
    def titles(self) -> Sequence[str]: ...

    @property
    def raw_user_ids(self) -> Sequence[str]: ...

    def users_with_history(self, raw_user_ids: Sequence[str]) -> np.ndarray: ...


class Recommends(Protocol):
    """Who recommends: a served model (`Recommender`), or a teacher that is slow."""

    @property
    def files(self) -> Known: ...

    def rank_log(self, users: np.ndarray, k: int, filter_seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns the best items of users of the log and their scores; see `Recommender.rank_log`."""


def check_output(output: Path) -> None:
    """Makes sure that a file of this name can be written.

    Raises:
        UserError: It ends in something else than what can be written.
    """
    if output.suffix not in SUFFIXES:
        raise UserError(f"recommend.output={output} must end in {' or '.join(SUFFIXES)}.")


def read_users(path: Path) -> list[str]:
    """Returns the raw user ids of a text file, one on each line; empty lines are passed over.

    Raises:
        UserError: It is not there, no text, or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines() would part ids at rarer characters, too
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a list of users ({error}): one raw id on each line.") from None
    users = [line for line in lines if line]
    if not users:
        raise UserError(f"{path} holds no user: one raw id on each line.")
    return users


def recommend_to_file(
    recommender: Recommends,
    users: Sequence[str],
    output: Path,
    k: int = 10,
    filter_seen: bool = True,
    empty_history: EmptyHistory = "popular",
    chunk: int = 20_000,
    by: Literal["model", "teacher"] = "model",
) -> None:
    """Writes `output` whole or not at all: `user, rank, item, title, score, by`; `k` rows for each user, one by one.

    What is done lies in `<output>.unfinished/` until all is; the same call goes on from there. Of two calls for
    one file the second waits for the first.

    Args:
        recommender: Who recommends.
        users: Raw ids; one that the log does not know has no history.
        output: A .parquet or .csv file.
        k, filter_seen, empty_history: See `Recommender.recommend`.
        chunk: Users whose rows are in memory at once.
        by: What the recommender is called in the column of that name, where it was not popularity that ranked.

    Raises:
        UserError: See `check_output`; or a user has no history, and `empty_history` refuses.
    """
    check_output(output)
    about = {"model": recommender.files.version, "k": k, "filter_seen": filter_seen, "chunk": chunk, "by": by}
    about |= {"empty_history": empty_history, "users": fingerprint(list(users))}
    with making(output):
        _recommend(recommender, users, output, about)


def _recommend(recommender: Recommends, users: Sequence[str], output: Path, about: dict[str, Any]) -> None:
    folder, chunk = unfinished(output), about["chunk"]
    if not (folder / ABOUT).is_file() or read_json(folder / ABOUT) != about:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / ABOUT, about)
    parts = []
    with told_where_disk_is_full(output), progress("recommend: users", len(users)) as advance:
        for first in range(0, max(1, len(users)), chunk):  # without users one part without rows
            some = users[first : first + chunk]
            parts.append(folder / f"{first:012d}{output.suffix}")
            if not parts[-1].is_file():
                rows = _rows(recommender, some, about["k"], about["filter_seen"], about["empty_history"], about["by"])
                temporary = parts[-1].with_suffix(".writing")
                if output.suffix == ".csv":
                    rows.write_csv(temporary, include_header=first == 0)
                else:
                    rows.write_parquet(temporary)
                on_disk(temporary)
                temporary.replace(parts[-1])
            advance(len(some))
        whole = folder / "whole"
        if output.suffix == ".csv":
            with whole.open("wb") as file:
                for part in parts:
                    with part.open("rb") as read:
                        shutil.copyfileobj(read, file)
        else:
            pl.scan_parquet(parts, glob=False).sink_parquet(whole)
        on_disk(whole)
        whole.replace(output)
        on_disk(output.parent)
    shutil.rmtree(folder)


def _rows(
    recommender: Recommends, users: Sequence[str], k: int, filter_seen: bool, empty_history: EmptyHistory, by: str
) -> pl.DataFrame:
    files, text = recommender.files, partial(pl.Series, dtype=pl.String)
    known = files.users_with_history(users)
    if empty_history == "refuse" and (known < 0).any():
        raise UserError(f"User {users[int((known < 0).argmax())]!r} has no history in the log: no recommendation.")
    items, scores = recommender.rank_log(known, k, filter_seen)
    user, place = (scores > -np.inf).nonzero()
    return pl.DataFrame(
        {
            "user": text(users).gather(user),
            "rank": pl.Series(place + 1, dtype=pl.Int32),
            "item": text(files.raw_ids).gather(items[user, place] - 1),
            "title": text(files.titles).gather(items[user, place] - 1),
            "score": scores[user, place],
            "by": text([by, "popularity"]).gather((known[user] < 0).astype(int)),
        }
    )
