"""What a raw log holds, what filters and the split would make of it, and what would make results worthless."""

from typing import Any

import numpy as np
import polars as pl

from ..core.data_utils import TEST, TRAIN, k_core, with_min_rating
from ..core.errors import UserError
from .check_warnings import warnings_of
from .preparation.filtering import NO_TITLE, filtered, with_titles
from .preparation.splitting import PARTS, split_log
from .prepare import read_raw
from .raw.layouts import LAYOUTS, Layout
from .raw.log import RawLog, check_layout
from .settings import DatasetSettings

QUANTILES = {"least": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "most": 1.0}
CORES = (2, 3, 5, 10)
MOST_RATINGS = 10  # of which each is tried as dataset.min_rating

Facts = dict[str, Any]  # plain JSON


def check_log(settings: DatasetSettings, raw: RawLog) -> Facts:
    """Returns what is known of a log before it is prepared: `log`, `filters`, `split` and `warnings`.

    Args:
        settings: Key `dataset`. Where the log is split by sessions, users are sessions throughout.
        raw: The files.

    Raises:
        UserError: A file is faulty, or settings do not go with the layout. What would only be refused once the log is
            filtered and split is a warning here.
    """
    check_layout(settings)
    layout = LAYOUTS[settings.reader]
    interactions, known = read_raw(layout, raw, settings)
    if interactions.is_empty():
        raise UserError(f"{raw.paths[0]} holds no interactions: copy it again, or choose another dataset.")
    times = layout.times and not (layout.by_columns and settings.columns.timestamp is None)
    facts: Facts = {
        "dataset": settings.name,
        "files": [str(path) for path in raw.paths],
        "log": _log_facts(interactions, known, layout if times else None),
        "filters": [_left(*each) for each in _filters(interactions)],
    }
    try:
        kept = filtered(with_titles(interactions, known, settings), settings, raw.paths[0])
        facts["filters"].append(_left("as the settings say", kept))
        facts["split"] = _split_facts(split_log(kept, settings), settings, times)
    except UserError as error:
        facts["split"] = {"refused": str(error)}
    facts["warnings"] = warnings_of(facts)
    return facts


def _log_facts(interactions: pl.DataFrame, known: pl.DataFrame | None, timed: Layout | None) -> Facts:
    """Counts of the whole log; with `timed`, the layout of real times, what can be said of them, too."""
    users, items = (interactions.group_by(column).len().sort("len") for column in ("user", "item"))
    facts: Facts = {
        **_sizes(interactions),
        "density": len(interactions) / (len(users) * len(items)),
        "interactions_per_user": _quantiles(users["len"]),
        "interactions_per_item": _quantiles(items["len"]),
        "largest_user": [str(users["user"][-1]), users["len"][-1] / len(interactions)],
        "largest_item": [str(items["item"][-1]), items["len"][-1] / len(interactions)],
        "repeated": 1 - len(interactions.select("user", "item").unique()) / len(interactions),
        "untitled_items": _untitled(items["item"], known),
    }
    if timed is not None:
        time = interactions["timestamp"]
        together = interactions.select(pl.struct("user", "timestamp").is_duplicated().mean()).item()
        facts |= {
            "first": _date(time.min(), timed.ticks),
            "last": _date(time.max(), timed.ticks),
            "distinct_times": time.n_unique(),
            "duplicates": len(interactions) - len(interactions.select("user", "item", "timestamp").unique()),
            "tied": together,
        }
    return facts


def _sizes(interactions: pl.DataFrame) -> dict[str, int]:
    users, items = (interactions[column].n_unique() for column in ("user", "item"))
    return {"interactions": len(interactions), "users": users, "items": items}


def _quantiles(counts: pl.Series) -> dict[str, float]:
    values = {name: float(counts.quantile(share, "nearest") or 0) for name, share in QUANTILES.items()}
    return {**values, "mean": len(counts) and float(counts.sum()) / len(counts)}


def _untitled(items: pl.Series, known: pl.DataFrame | None) -> int:
    """How many items of the log have no title; all of them where no file says any."""
    if known is None:
        return len(items)
    titled = known.filter(~NO_TITLE)["item"]
    return int((~items.cast(titled.dtype).is_in(titled.implode())).sum())


def _date(time: Any, ticks: int) -> str:
    moment = pl.Series([time]) * (1_000_000 // ticks)
    return str(moment.cast(pl.Datetime("us")).dt.to_string("%Y-%m-%d %H:%M:%S")[0])


def _filters(interactions: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Returns what each filter by itself would leave, named as its settings are written."""
    found = [("none", interactions)]
    for least in CORES:
        name = f"min_user_interactions={least} min_item_interactions={least}"
        found.append((name, k_core(interactions, least, least)))
    if "rating" in interactions.columns:
        rating = interactions["rating"]
        tried = rating.unique().sort().to_list()[1:]  # the lowest drops nothing
        if len(tried) >= MOST_RATINGS:
            tried = sorted({rating.quantile(share, "nearest") for share in (0.25, 0.5, 0.75)})
        found += [(f"min_rating={_written(least)}", with_min_rating(interactions, least)) for least in tried]
    return found


def _written(rating: float) -> str:
    """Returns the shortest number that is this float32, such as 4.1: the setting keeps what is told of it."""
    return np.format_float_positional(np.float32(rating), trim="-")


def _left(name: str, interactions: pl.DataFrame) -> Facts:
    return {"filter": name, **_sizes(interactions)}


def _split_facts(interactions: pl.DataFrame, settings: DatasetSettings, times: bool) -> Facts:
    """What the examples of the log in order are; its `part` says which are train, val and test."""
    train, test = (interactions.filter(pl.col("part") == part) for part in (TRAIN, TEST))
    targets = test.filter(pl.col("position") > 0)
    examples = interactions.filter(pl.col("position") > 0)["part"]
    seen = train["item"].unique()
    cold = ~targets["item"].is_in(seen.implode())
    facts: Facts = {
        "by": settings.split,
        "examples": {name: int((examples == part).sum()) for name, part in PARTS.items()},
        "test_users": test["user"].n_unique(),
        "test_users_without_history": test["user"].n_unique() - targets["user"].n_unique(),
        "cold_targets": float(cold.cast(pl.Float64).mean() or 0.0),
        "cold_items": int(interactions["item"].n_unique() - len(seen)),
    }
    if times:
        facts["later_in_training"] = _later(train["timestamp"], targets["timestamp"])
    return facts


def _later(train: pl.Series, targets: pl.Series) -> float:
    """Share of the training interactions that are later than a test target, averaged over the targets."""
    if train.is_empty() or targets.is_empty():
        return 0.0
    not_later = train.sort().search_sorted(targets, side="right")
    return 1 - float(not_later.cast(pl.Float64).sum()) / (len(targets) * len(train))
