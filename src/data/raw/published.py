"""Logs as their publishers lay them out, where names of columns are not all that is needed to read them."""

import html
import io
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from ...core.errors import UserError
from ..settings import DatasetSettings
from .cells import Cells
from .columns import TABLE, known_items, read_log

POSTED = "Posted %B %d, %Y."  # "Posted November 5, 2011."

log = logging.getLogger(__name__)


def read_amazon_items(path: Path, settings: DatasetSettings) -> pl.DataFrame:
    """Reads Amazon's metadata: titles are escaped for HTML, and of an item's several lines the first counts.

    Raises:
        UserError: See `columns.read_items`.
    """
    items = known_items(path, settings).unique("item", keep="first", maintain_order=True)
    plain = [
        pl.Series(name, [html.unescape(text) for text in items[name]], dtype=pl.String) for name in ("title", "text")
    ]
    return items.with_columns(column.str.replace_all(r"\s+", " ").str.strip_chars() for column in plain)


def read_steam_items(path: Path, settings: DatasetSettings) -> pl.DataFrame:
    """Reads Steam's games, a few of which have no id; of a game's several lines the first counts.

    Raises:
        UserError: See `columns.known_items`.
    """
    return known_items(path, settings, skip_nameless=True).unique("item", keep="first", maintain_order=True)


def read_tags(path: Path, settings: DatasetSettings) -> pl.DataFrame:
    """Reads a log of tags, where an artist that got several tags at once has as many rows: one interaction.

    Raises:
        UserError: See `columns.read_log`.
    """
    tags = read_log(path, settings)
    once = tags.unique(["user", "item", "timestamp"], keep="first", maintain_order=True)
    log.info("%d tags, which are %d times that a user tagged an artist", len(tags), len(once))
    return once


def read_nested_reviews(path: Path, settings: DatasetSettings) -> pl.DataFrame:
    """Reads Steam's Australian users: a line is a user with the list of his reviews. Those without a year, which Steam
    writes so in the current one, have no time and are left out; what is written twice is read once.

    Raises:
        UserError: The file is damaged, or lacks what is read.
    """
    review = pl.Struct({"item_id": pl.String, "posted": pl.String})
    schema: dict[str, Any] = {"user_id": pl.String, "reviews": pl.List(review)}
    try:
        users = pl.read_ndjson(io.BytesIO(Cells(path).text), schema=schema, n_rows=settings.row_limit)
    except pl.exceptions.PolarsError:
        raise UserError(
            f"{path} has no lines of {{'user_id': …, 'reviews': [{{'item_id': …, 'posted': …}}, …]}}: give "
            "australian_user_reviews.json.gz."
        ) from None
    reviews = users.explode("reviews").drop_nulls().unnest("reviews")
    day = pl.col("posted").str.to_date(POSTED, strict=False)
    dated = reviews.select(user="user_id", item="item_id", timestamp=day.cast(pl.Datetime("us")).cast(pl.Int64))
    dated = dated.drop_nulls()
    log.warning("%d of %d reviews tell no year and are left out", len(reviews) - len(dated), len(reviews))
    dated = dated.unique(maintain_order=True)
    return dated.with_columns(pl.col(name).cast(pl.Enum(dated[name].unique().sort())) for name in ("user", "item"))


AMAZON_REVIEWS = replace(TABLE, read_items=read_amazon_items)
LASTFM_TAGS = replace(TABLE, read_log=lambda paths, settings: read_tags(paths[0], settings))
STEAM = replace(TABLE, read_items=read_steam_items)
STEAM_AUSTRALIAN = replace(STEAM, read_log=lambda paths, settings: read_nested_reviews(paths[0], settings))
