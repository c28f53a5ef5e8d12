"""From a raw log to numbered, ordered, split interactions: pure functions of polars frames.

A log is a frame with one row per interaction and the columns `user`, `item`, `timestamp`, where the layout has them
`rating`, `part` (0 = train, 1 = val, 2 = test, -1 = history alone) and `session`, in the order of the raw file.
"""

from typing import Protocol

import polars as pl

HISTORY, TRAIN, VAL, TEST = -1, 0, 1, 2  # HISTORY: of a user outside training, read before val or test alone
END = pl.col("timestamp").max()  # of a session


class Times(Protocol):
    """Times in ascending order: a series, or what knows them by place without holding them."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> int: ...


def with_min_rating(log: pl.DataFrame, min_rating: float) -> pl.DataFrame:
    """Keeps interactions rated `min_rating` or better."""
    return log.filter(pl.col("rating") >= min_rating)


def k_core(log: pl.DataFrame, min_user_interactions: int, min_item_interactions: int) -> pl.DataFrame:
    """Keeps the largest part of the log in which every user and every item has its least number of interactions.

    Dropping a user can leave an item too rare and the other way round, so both are dropped until neither is left.
    """
    limits = {"user": min_user_interactions, "item": min_item_interactions}
    enough = [pl.len().over(column) >= least for column, least in limits.items() if least > 1]
    if not enough:
        return log
    while len(kept := log.filter(pl.all_horizontal(enough))) < len(log):
        log = kept
    return log


def in_order(log: pl.DataFrame) -> pl.DataFrame:
    """Sorts by user and time, adds `position` (int32, from 0 within the user); ties in time keep the log's order."""
    # Two stable sorts by one key each: four times as fast in polars as one sort by two keys.
    ordered = log.sort("timestamp", maintain_order=True).sort("user", maintain_order=True)
    return ordered.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32).over("user"))


def numbered(log: pl.DataFrame, column: str, first: int) -> tuple[pl.DataFrame, pl.Series]:
    """Replaces the raw ids of `column` by int32 numbers from `first` on, in ascending order of raw id.

    Returns:
        The log, and the raw ids in the order of their numbers.
    """
    raw_ids = log[column].unique().sort()
    numbers = pl.int_range(first, first + len(raw_ids), dtype=pl.Int32, eager=True)
    return log.with_columns(pl.col(column).replace_strict(raw_ids, numbers, return_dtype=pl.Int32)), raw_ids


def leave_one_out(log: pl.DataFrame) -> pl.DataFrame:
    """Adds `part`: each user's last interaction is test, the one before val, the rest train. Takes an ordered log."""
    to_come = pl.len().over("user") - 1 - pl.col("position").cast(pl.Int64)
    part = pl.when(to_come == 0).then(TEST).when(to_come == 1).then(VAL).otherwise(TRAIN)
    return log.with_columns(part=part.cast(pl.UInt8))


def global_time(log: pl.DataFrame, moments: tuple[int, int]) -> pl.DataFrame:
    """Adds `part` by two moments common to all users (`moments_of` the log's times): the newest interactions are test,
    those before them val.
    """
    return _since(log, pl.col("timestamp"), moments)


def by_sessions(log: pl.DataFrame, moments: tuple[int, int]) -> pl.DataFrame:
    """Adds `part` to a log whose users are sessions (`moments_of` their ends): those that ended last are test, those
    before them val.

    No session is torn apart, and all of training is over when the first session of val ends.
    """
    return _since(log, END.over("user"), moments)


def _since(log: pl.DataFrame, time: pl.Expr, moments: tuple[int, int]) -> pl.DataFrame:
    since_val, since_test = moments
    return log.with_columns(part=(time >= since_val).cast(pl.UInt8) + (time >= since_test).cast(pl.UInt8))


def moments_of(times: "Times", val_share: float, test_share: float) -> tuple[int, int]:
    """Returns the moments since when all is val, and since when all is test.

    They are chosen such that the shares are `val_share` and `test_share`. What is of one moment is never torn apart:
    at a cut-off all belongs to the later part.

    Args:
        times: At least one.
        val_share, test_share: Of them.
    """
    since_val, since_test = (_newest(times, share) for share in (val_share + test_share, test_share))
    return since_val, since_test


def _newest(times: "Times", share: float) -> int:
    first = len(times) - round(len(times) * share)
    return times[first] if first < len(times) else times[-1] + 1


def sessions_by_gap(log: pl.DataFrame, gap: int) -> pl.DataFrame:
    """Makes each session a user, `u7#2` for the second of u7: one ends where nothing follows for longer than `gap`."""
    ordered = in_order(log)
    begins = (pl.col("timestamp").diff() > gap).fill_null(True).over("user")
    number = begins.cast(pl.Int32).cum_sum().over("user")
    return _with_users(ordered.drop("position"), pl.format("{}#{}", pl.col("user").cast(pl.String), number))


def sessions_by_column(log: pl.DataFrame) -> pl.DataFrame:
    """Makes each pair of `user` and `session` a user, `u7#s1`."""
    pair = pl.format("{}#{}", pl.col("user").cast(pl.String), "session")
    return _with_users(log, pair).drop("session")


def _with_users(log: pl.DataFrame, user: pl.Expr) -> pl.DataFrame:
    named = log.with_columns(user=user)
    return named.with_columns(pl.col("user").cast(pl.Enum(named["user"].unique().sort())))


def users_of(log: pl.DataFrame) -> pl.DataFrame:
    """Returns `user`, `num_interactions`, `num_train` (int32), one row per user in ascending order."""
    num_train = (pl.col("part") == TRAIN).sum().cast(pl.Int32)
    counts = log.group_by("user").agg(num_interactions=pl.len().cast(pl.Int32), num_train=num_train)
    return counts.sort("user")


def examples_of(log: pl.DataFrame, part: int, first_id: int) -> pl.DataFrame:
    """Returns `example_id`, `user`, `end` (int32), one row per interaction of `part` that has a history.

    Takes an ordered log, so the examples are ordered by (user, end).
    """
    rows = log.filter((pl.col("part") == part) & (pl.col("position") > 0))
    ids = pl.int_range(first_id, first_id + len(rows), dtype=pl.Int32, eager=True)
    return rows.select(ids.alias("example_id"), "user", end="position")
