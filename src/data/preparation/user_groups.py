"""A log on disk, filtered → whole users' interactions, group after group, in the order of the users."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from ...core.data_utils import END, moments_of
from ..settings import DatasetSettings
from .columns import Column, Ordered
from .log_on_disk import LogOnDisk
from .splitting import Misplaced, Moments, by_shares, divided

NUMBERS = {"user": np.int32, "item": np.int32, "timestamp": np.int64, "part": np.int8}


class UserGroups:
    """The rows that are kept, users and items by number, gathered so that each user's stand in one group, in the order
    of the log. A group has `rows_at_once` rows and those that its last user has beyond.

    Args:
        log: The filtered log; its columns are gone afterwards.
        counts: What it keeps of each user and item (`LogOnDisk.counts`).
        folder: Where the files lie.
    """

    def __init__(self, log: LogOnDisk, counts: dict[str, np.ndarray], folder: Path) -> None:
        self.rows_at_once = log.rows_at_once
        self.user_counts = counts["user"][counts["user"] > 0]
        first_row = self.user_counts.cumsum() - self.user_counts
        group_of_user = first_row // self.rows_at_once  # by number; not all groups are there
        self.first_rows = np.append(first_row[np.unique(group_of_user, return_index=True)[1]], self.user_counts.sum())
        group_of_user = np.unique(group_of_user, return_inverse=True)[1]
        new_group = np.zeros(len(counts["user"]), np.uint16 if len(self.first_rows) < 1 << 16 else np.uint32)
        new_group[counts["user"] > 0] = group_of_user
        numbers = {"user": _numbers(counts["user"], 0), "item": _numbers(counts["item"], 1)}
        wanted = [name for name in NUMBERS if name in log.columns]
        self.columns = {name: Column(folder / f"{name}-by-group", NUMBERS[name]) for name in wanted}
        self._gather(log, new_group, numbers)
        for column in (*log.columns.values(), log.kept):
            column.delete()

    def _gather(self, log: LogOnDisk, group_of_user: np.ndarray, numbers: dict[str, np.ndarray]) -> None:
        cursor = self.first_rows[:-1].copy()
        for rows in log.pieces():
            kept = log.kept.read(rows)
            group = group_of_user[log.columns["user"].read(rows)[kept]]
            order = group.argsort(kind="stable")  # by counting, since groups are few
            sizes = np.bincount(group, minlength=len(cursor))
            ends = sizes.cumsum()
            for name, column in self.columns.items():
                values = log.columns[name].read(rows)[kept][order]
                values = numbers[name][values] if name in numbers else values
                for each in sizes.nonzero()[0]:
                    column.write(int(cursor[each]), values[ends[each] - sizes[each] : ends[each]])
            cursor += sizes

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Yields groups: `user`, `item`, `timestamp`, perhaps `part`."""
        for first, end in zip(self.first_rows[:-1].tolist(), self.first_rows[1:].tolist(), strict=True):
            rows = slice(first, end)
            yield pl.DataFrame({name: column.read(rows) for name, column in self.columns.items()})

    def split(self, settings: DatasetSettings, raw_users: pl.Series) -> Iterator[pl.DataFrame]:
        """Yields groups in order, with their columns `position` and `part`.

        Args:
            settings: How the log is split.
            raw_users: Ids by number.

        Raises:
            UserError: The raw files' parts cannot be; told behind the last group.
        """
        moments, misplaced = self._moments(settings), Misplaced()
        for users in self:
            users = divided(users, settings, moments)
            if settings.split == "given":
                misplaced.add(users)
            yield users
        misplaced.refuse(raw_users.to_list)

    def _moments(self, settings: DatasetSettings) -> Moments | None:
        if not by_shares(settings):
            return None
        if settings.split == "sessions":
            times = pl.concat([users.group_by("user").agg(END)["timestamp"] for users in self]).sort()
            return moments_of(times, settings.val_share, settings.test_share)
        times = Ordered(self.columns["timestamp"], self.rows_at_once)
        return moments_of(times, settings.val_share, settings.test_share)


def _numbers(counts: np.ndarray, first: int) -> np.ndarray:
    """Returns the numbers of ids, from `first` on in their order, of those that are kept."""
    return ((counts > 0).cumsum() - 1 + first).astype(np.int32)
