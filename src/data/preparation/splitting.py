"""The log in order and its split: what is train, val and test, or why that cannot be told."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from ...core.data_utils import (
    END,
    HISTORY,
    TEST,
    TRAIN,
    VAL,
    by_sessions,
    global_time,
    in_order,
    leave_one_out,
    moments_of,
)
from ...core.errors import UserError
from ..settings import BY_SHARES, DatasetSettings

PARTS = {"train": TRAIN, "val": VAL, "test": TEST}
Moments = tuple[int, int]


def split_log(interactions: pl.DataFrame, settings: DatasetSettings) -> pl.DataFrame:
    """Returns the log in order, with its columns `position` and `part`.

    Raises:
        UserError: The log cannot be split as the settings say.
    """
    if settings.split == "leave_one_out":
        refuse_short_users(interactions.group_by("user").len().sort("user"), settings)
    times = interactions["timestamp"]
    if settings.split == "sessions":
        times = interactions.group_by("user").agg(END)["timestamp"]
    moments = moments_of(times.sort(), settings.val_share, settings.test_share) if by_shares(settings) else None
    interactions = divided(interactions, settings, moments)
    if settings.split == "given":
        misplaced = Misplaced()
        misplaced.add(interactions)
        misplaced.refuse()
    refuse_lacking(set(interactions.filter(pl.col("position") > 0)["part"]), settings)
    return interactions


def by_shares(settings: DatasetSettings) -> bool:
    """Whether two moments of the whole log split it."""
    return settings.split in BY_SHARES


def divided(users: pl.DataFrame, settings: DatasetSettings, moments: Moments | None) -> pl.DataFrame:
    """Returns whole users' interactions in order, with their columns `position` and `part`.

    Args:
        users: Some users' interactions, all that they have, in the order of the log.
        settings: How the log is split.
        moments: See `moments_of`; where `by_shares`.
    """
    if settings.split == "given":
        users = users.sort("part", maintain_order=True)  # of what happened at one time, train comes first
    users = in_order(users)
    if moments is not None:
        return (by_sessions if settings.split == "sessions" else global_time)(users, moments)
    return leave_one_out(users) if settings.split == "leave_one_out" else users


@dataclass
class Misplaced:
    """What of parts that the raw files give cannot be.

    turned: How many interactions are of an earlier part than the one before; `turned_user`: whose the first is.
    trained: How many are of train while others of their user are history; `trained_user`: whose the first is.
    """

    turned: int = 0
    turned_user: Any = None
    trained: int = 0
    trained_user: Any = None

    def add(self, users: pl.DataFrame) -> None:
        """Looks at whole users' interactions in order."""
        turned = users.filter((pl.col("part") < pl.col("part").shift()).over("user"))
        outside = pl.col("part").min().over("user") == HISTORY
        trained = users.filter(outside & (pl.col("part") == TRAIN))
        if not self.turned and len(turned):
            self.turned_user = turned["user"][0]
        if not self.trained and len(trained):
            self.trained_user = trained["user"][0]
        self.turned, self.trained = self.turned + len(turned), self.trained + len(trained)

    def refuse(self, raw_ids: Callable[[], list[Any]] | None = None) -> None:
        """Makes sure that there was nothing.

        Args:
            raw_ids: Returns those of the users' numbers; None: users are called by their raw ids.

        Raises:
            UserError: There was.
        """
        turned, trained = self.turned_user, self.trained_user
        if raw_ids is not None and (self.turned or self.trained):
            turned, trained = (None if user is None else raw_ids()[user] for user in (turned, trained))
        if self.turned:
            raise UserError(
                f"dataset.split=given: user {turned} has an interaction of an earlier part after one of a later "
                f"({self.turned:,} such interactions), so that histories would hold what is to be predicted: give each "
                "user's train, val and test interactions in that order of time, or choose another split."
            )
        if self.trained:
            raise UserError(
                f"dataset.split=given: user {trained} has interactions of part history and of train "
                f"({self.trained:,} such of train): history is of users who are not trained on; call it train."
            )


def refuse_short_users(counts: pl.DataFrame, settings: DatasetSettings) -> None:
    """Takes `user` and `len`, in ascending order of users.

    Raises:
        UserError: The last two interactions of a user are all that there are.
    """
    short = counts.filter(pl.col("len") < 3)
    if len(short):
        user, num_interactions = short.row(0)
        limit = settings.limit_data_rows
        cut = f" (dataset.limit_data_rows={limit} cuts the log; -1 reads it all)" if limit != -1 else ""
        raise UserError(
            f"{len(short)} of {len(counts)} users have fewer than three interactions{cut}, e.g. user {user} has "
            f"{num_interactions}, but dataset.split=leave_one_out needs three: set dataset.min_user_interactions=3."
        )


def refuse_lacking(parts: Iterable[int], settings: DatasetSettings) -> None:
    """Takes the parts that have examples.

    Raises:
        UserError: One has none.
    """
    missing = [name for name, part in PARTS.items() if part not in parts]
    if missing:
        raise UserError(
            f"dataset.split={settings.split} leaves no {' and no '.join(missing)} example (an interaction with a "
            "history): loosen the filters, raise dataset.limit_data_rows, or choose another split."
        )
