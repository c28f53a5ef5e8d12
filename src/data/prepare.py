"""The stage `prepare`: raw log → dataset. Reads, filters, splits and numbers once; later runs load."""

import logging
from pathlib import Path

import polars as pl

from ..core.artefact import DATASET, MANIFEST, writing
from ..core.data_utils import (
    HISTORY,
    TEST,
    TRAIN,
    VAL,
    by_sessions,
    examples_of,
    global_time,
    in_order,
    k_core,
    leave_one_out,
    numbered,
    sessions_by_column,
    sessions_by_gap,
    users_of,
    with_min_rating,
)
from ..core.errors import UserError
from .dataset import Dataset
from .raw.layouts import LAYOUTS, Layout
from .raw.log import RawLog, check_layout, find_raw_log, settings_that_count
from .settings import DatasetSettings

PARTS = {"train": TRAIN, "val": VAL, "test": TEST}


def can_be_seen(column: str) -> pl.Expr:
    """Returns whether a text holds more than spaces and marks without a shape."""
    return pl.col(column).str.replace_all(r"[\p{Cf}\p{Z}]", "") != ""


NO_TITLE = ~can_be_seen("title")
FILTERS = ("min_rating", "min_user_interactions", "min_item_interactions")

log = logging.getLogger(__name__)


def prepare_dataset(settings: DatasetSettings, data_dirs: list[Path], processed_dir: Path) -> Dataset:
    """Returns the dataset that `settings` describe; makes `processed_dir/<name>/<fingerprint>/` if it is not there.

    Args:
        settings, data_dirs: See `find_raw_log`.
        processed_dir: Where prepared datasets lie.

    Raises:
        UserError: A setting is wrong, raw files are missing or faulty, or nothing is left to learn from.
    """
    raw = find_raw_log(settings, data_dirs)
    folder = processed_dir / settings.name / raw.fingerprint
    if not (folder / MANIFEST).is_file():
        make_dataset(settings, raw, folder)
    return Dataset.load(folder)


def make_dataset(settings: DatasetSettings, raw: RawLog, folder: Path) -> None:
    """Writes the prepared dataset to `folder`, whole or not at all; raises as `prepare_dataset`."""
    log.info("Preparing %s from %s", settings.name, ", ".join(map(str, raw.paths)))
    manifest = {
        "name": settings.name,
        "fingerprint": raw.fingerprint,
        "raw_files": raw.sha256,
        "settings": settings_that_count(settings),
        "prompt": settings.prompt,
    }
    check_layout(settings)
    layout = LAYOUTS[settings.reader]
    interactions, known = read_raw(layout, raw, settings)
    interactions = filtered(with_titles(interactions, known, settings), settings, raw.paths[0])
    interactions = split_log(interactions, settings)
    interactions, raw_users = numbered(interactions, "user", first=0)
    interactions, raw_items = numbered(interactions, "item", first=1)
    items = _items(raw_items, known, raw.paths, settings)
    _write(folder, manifest, interactions, raw_users, items)


def read_raw(layout: Layout, raw: RawLog, settings: DatasetSettings) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Returns the log, whose users are sessions where it is split by them, and what is known of its items (`item`,
    `title`, `text`), or None where there are no titles by the settings' own word.

    Raises:
        UserError: A file is faulty.
    """
    log_paths, items_paths = raw.paths[: layout.num_log_files], raw.paths[layout.num_log_files :]
    interactions = layout.read_log(log_paths, settings)
    if settings.split == "sessions" and settings.session_gap_minutes is not None:
        interactions = sessions_by_gap(interactions, round(settings.session_gap_minutes * 60 * layout.ticks))
    elif "session" in interactions.columns:
        sessions = interactions.select(pl.struct("user", "session").n_unique()).item()
        interactions = sessions_by_column(interactions)
        if interactions["user"].n_unique() != sessions:
            raise UserError(
                f"{raw.paths[0]}: ids of users and sessions hold '#', so that two sessions would be called the same: "
                "write them otherwise."
            )
    known = layout.read_items(items_paths[0], settings) if items_paths else None
    return interactions, known


def with_titles(interactions: pl.DataFrame, known: pl.DataFrame | None, settings: DatasetSettings) -> pl.DataFrame:
    """Returns the log, without the items that have no title where `dataset.untitled` says so.

    Raises:
        UserError: None has one.
    """
    if settings.untitled != "drop" or known is None or settings.columns.title is None:
        return interactions
    titled = known.filter(~NO_TITLE)["item"]
    interactions = interactions.filter(pl.col("item").cast(titled.dtype).is_in(titled.implode()))
    if interactions.is_empty():
        raise UserError(
            "dataset.untitled=drop leaves nothing, since no item of the log has a title in the items' file: do both "
            "call items the same (dataset.columns.item and item_key)?"
        )
    return interactions


def filtered(interactions: pl.DataFrame, settings: DatasetSettings, path: Path) -> pl.DataFrame:
    """Returns what the settings keep of a log.

    Raises:
        UserError: That is nothing, or ratings are asked for where there are none; `path` is named.
    """
    if interactions.is_empty():
        raise UserError(f"{path} holds no interactions: copy it again, or choose another dataset.")
    if settings.min_rating is not None:
        if "rating" not in interactions.columns:
            raise UserError(f"dataset.min_rating={settings.min_rating}, but {path} has no ratings: set it to null.")
        interactions = with_min_rating(interactions, settings.min_rating)
    kept = [column for column in ("user", "item", "timestamp", "part") if column in interactions.columns]
    interactions = k_core(interactions.select(kept), settings.min_user_interactions, settings.min_item_interactions)
    if interactions.is_empty():
        filters = ", ".join(f"dataset.{key}={getattr(settings, key)}" for key in FILTERS)
        raise UserError(f"No interaction of {path} is left after {filters}: loosen them.")
    return interactions


def split_log(interactions: pl.DataFrame, settings: DatasetSettings) -> pl.DataFrame:
    """Returns the log in order, with its columns `position` and `part`.

    Raises:
        UserError: The log cannot be split as the settings say.
    """
    split = settings.split
    if split == "given":
        interactions = interactions.sort("part", maintain_order=True)  # of what happened at one time, train comes first
    interactions = in_order(interactions)
    if split == "given":
        _refuse_turned_parts(interactions)
    elif split == "leave_one_out":
        _refuse_short_users(interactions, settings.limit_data_rows)
        interactions = leave_one_out(interactions)
    elif split == "global_time":
        interactions = global_time(interactions, settings.val_share, settings.test_share)
    else:
        interactions = by_sessions(interactions, settings.val_share, settings.test_share)
    parts = set(interactions.filter(pl.col("position") > 0)["part"])
    missing = [name for name, part in PARTS.items() if part not in parts]
    if missing:
        raise UserError(
            f"dataset.split={split} leaves no {' and no '.join(missing)} example (an interaction with a history): "
            "loosen the filters, raise dataset.limit_data_rows, or choose another split."
        )
    return interactions


def _refuse_turned_parts(interactions: pl.DataFrame) -> None:
    turned = interactions.filter((pl.col("part") < pl.col("part").shift()).over("user"))
    if len(turned):
        raise UserError(
            f"dataset.split=given: user {turned['user'][0]} has an interaction of an earlier part after one of a later "
            f"({len(turned):,} such interactions), so that histories would hold what is to be predicted: give each "
            "user's train, val and test interactions in that order of time, or choose another split."
        )
    outside = pl.col("part").min().over("user") == HISTORY
    trained = interactions.filter(outside & (pl.col("part") == TRAIN))
    if len(trained):
        raise UserError(
            f"dataset.split=given: user {trained['user'][0]} has interactions of part history and of train "
            f"({len(trained):,} such of train): history is of users who are not trained on; call it train."
        )


def _refuse_short_users(interactions: pl.DataFrame, limit: int) -> None:
    counts = interactions.group_by("user", maintain_order=True).len()
    short = counts.filter(pl.col("len") < 3)
    if len(short):
        user, num_interactions = short.row(0)
        cut = f" (dataset.limit_data_rows={limit} cuts the log; -1 reads it all)" if limit != -1 else ""
        raise UserError(
            f"{len(short)} of {len(counts)} users have fewer than three interactions{cut}, e.g. user {user} has "
            f"{num_interactions}, but dataset.split=leave_one_out needs three: set dataset.min_user_interactions=3."
        )


def _items(
    raw_items: pl.Series, known: pl.DataFrame | None, paths: list[Path], settings: DatasetSettings
) -> pl.DataFrame:
    """Returns `item`, `raw_id`, `title`, `text` of the items in the log, in the order of their numbers."""
    if known is None:
        items = pl.DataFrame({"item": raw_items}).with_columns(title=pl.lit(""), text=pl.lit(""))
    else:
        items = pl.DataFrame({"item": raw_items.cast(known["item"].dtype)})
        items = items.join(known, on="item", how="left", maintain_order="left")
        twice = items.filter(~pl.col("item").is_first_distinct())
        if len(twice):  # all items behind it would get their neighbours' titles
            raise UserError(f"Item {twice['item'][0]} has several titles in {paths[-1]}: keep one.")
    items = items.with_columns(pl.col("title", "text").fill_null(""))
    untitled = items.filter(NO_TITLE)
    meant = known is None or settings.columns.title is None or settings.untitled == "keep"
    if len(untitled) and not meant:
        raise UserError(
            f"Item {untitled['item'][0]} of {paths[0]} has no title in {paths[-1]} ({len(untitled)} such items): "
            "add its line there, or set dataset.untitled=drop (without their interactions) or keep (without a teacher)."
        )
    if len(untitled):
        log.warning(
            "%d of %d items have no title: a language model has nothing to read of them, so no teacher can be trained "
            "here and encodings of titles say nothing; students learn from ids, or from files of another teacher "
            "(distill.teacher_outputs_path)",
            len(untitled),
            len(items),
        )
    number = pl.int_range(1, len(items) + 1, dtype=pl.Int32)
    return items.select(number.alias("item"), pl.col("item").cast(pl.String).alias("raw_id"), "title", "text")


def _write(folder: Path, manifest: dict, interactions: pl.DataFrame, raw_users: pl.Series, items: pl.DataFrame) -> None:
    users = users_of(interactions).with_columns(raw_id=raw_users.cast(pl.String))
    with writing(folder, DATASET, manifest) as temporary:
        _write_table(interactions.select("user", "item", "timestamp", "position"), temporary / "interactions.parquet")
        _write_table(items, temporary / "items.parquet")
        _write_table(users.select("user", "raw_id", "num_interactions", "num_train"), temporary / "users.parquet")
        counts = {"users": len(users), "items": len(items), "interactions": len(interactions)}
        counts["untitled_items"] = len(items.filter(NO_TITLE))
        first_id = 0
        for split, part in PARTS.items():
            examples = examples_of(interactions, part, first_id)
            _write_table(examples, temporary / f"examples_{split}.parquet")
            counts[f"{split}_examples"] = len(examples)
            first_id += len(examples)
        manifest["counts"] = counts


def _write_table(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", compression_level=1)
