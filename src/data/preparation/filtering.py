"""What the settings keep of a log, and the sentences where that is nothing."""

from collections.abc import Container
from pathlib import Path

import polars as pl

from ...core.data_utils import k_core, with_min_rating
from ...core.errors import UserError
from ..settings import DatasetSettings

FILTERS = ("min_rating", "min_user_interactions", "min_item_interactions")


def can_be_seen(column: str) -> pl.Expr:
    """Returns whether a text holds more than spaces and marks without a shape."""
    return pl.col(column).str.replace_all(r"[\p{Cf}\p{Z}]", "") != ""


NO_TITLE = ~can_be_seen("title")


def with_titles(interactions: pl.DataFrame, known: pl.DataFrame | None, settings: DatasetSettings) -> pl.DataFrame:
    """Returns the log, without the items that have no title where `dataset.untitled` says so.

    Raises:
        UserError: None has one.
    """
    titled = titled_alone(known, settings)
    if titled is None:
        return interactions
    interactions = interactions.filter(pl.col("item").cast(titled.dtype).is_in(titled.implode()))
    refuse_untitled(len(interactions))
    return interactions


def titled_alone(known: pl.DataFrame | None, settings: DatasetSettings) -> pl.Series | None:
    """Returns the items that have a title, where `dataset.untitled` drops the others."""
    if settings.untitled != "drop" or known is None or settings.columns.title is None:
        return None
    return known.filter(~NO_TITLE)["item"]


def filtered(interactions: pl.DataFrame, settings: DatasetSettings, path: Path) -> pl.DataFrame:
    """Returns what the settings keep of a log.

    Raises:
        UserError: That is nothing, or ratings are asked for where there are none; `path` is named.
    """
    refuse_empty(len(interactions), path)
    if settings.min_rating is not None:
        refuse_unrated(interactions.columns, settings, path)
        interactions = with_min_rating(interactions, settings.min_rating)
    kept = [column for column in ("user", "item", "timestamp", "part") if column in interactions.columns]
    interactions = k_core(interactions.select(kept), settings.min_user_interactions, settings.min_item_interactions)
    refuse_nothing_left(len(interactions), settings, path)
    return interactions


def refuse_untitled(left: int) -> None:
    """Takes the interactions with items that have a title."""
    if not left:
        raise UserError(
            "dataset.untitled=drop leaves nothing, since no item of the log has a title in the items' file: do both "
            "call items the same (dataset.columns.item and item_key)?"
        )


def refuse_empty(num_interactions: int, path: Path | str) -> None:
    """Takes the interactions of the log in `path`."""
    if not num_interactions:
        raise UserError(f"{path} holds no interactions: copy it again, or choose another dataset.")


def refuse_unrated(columns: Container[str], settings: DatasetSettings, path: Path | str) -> None:
    """Takes the columns of the log in `path`."""
    if "rating" not in columns:
        raise UserError(f"dataset.min_rating={settings.min_rating}, but {path} has no ratings: set it to null.")


def refuse_nothing_left(left: int, settings: DatasetSettings, path: Path) -> None:
    """Takes the interactions that filters leave of the log in `path`."""
    if not left:
        filters = ", ".join(f"dataset.{key}={getattr(settings, key)}" for key in FILTERS)
        raise UserError(f"No interaction of {path} is left after {filters}: loosen them.")
