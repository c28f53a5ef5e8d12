"""The stage `prepare`: raw log → dataset. Reads, filters, splits and numbers once; later runs load."""

import logging
from pathlib import Path

import polars as pl

from ..core.artefact import DATASET, MANIFEST, writing
from ..core.data_utils import (
    TEST,
    TRAIN,
    VAL,
    examples_of,
    global_time,
    in_order,
    k_core,
    leave_one_out,
    numbered,
    users_of,
    with_min_rating,
)
from ..core.errors import UserError
from .dataset import Dataset
from .raw.layouts import LAYOUTS
from .raw.log import RawLog, check_layout, find_raw_log, settings_that_count
from .settings import DatasetSettings

PARTS = {"train": TRAIN, "val": VAL, "test": TEST}
INVISIBLE = r"[\p{Cf}\p{Z}]"
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
    log.info("Preparing %s from %s", settings.name, raw.folder)
    manifest = {
        "name": settings.name,
        "fingerprint": raw.fingerprint,
        "raw_files": raw.sha256,
        "settings": settings_that_count(settings),
        "prompt": settings.prompt,
    }
    layout = LAYOUTS[settings.reader]
    check_layout(settings)
    *log_paths, items_path = (raw.folder / file.name for file in settings.files)
    limit = None if settings.limit_data_rows == -1 else settings.limit_data_rows
    interactions = layout.read_log(log_paths, limit)
    interactions = _filtered(interactions, settings, log_paths[0])
    interactions = _split(in_order(interactions), settings)
    interactions, raw_users = numbered(interactions, "user", first=0)
    interactions, raw_items = numbered(interactions, "item", first=1)
    items = _items(raw_items, layout.read_items(items_path), items_path, log_paths[0])
    _write(folder, manifest, interactions, raw_users, items)


def _filtered(interactions: pl.DataFrame, settings: DatasetSettings, path: Path) -> pl.DataFrame:
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


def _split(interactions: pl.DataFrame, settings: DatasetSettings) -> pl.DataFrame:
    """Returns the ordered log with its column `part`."""
    split = settings.split
    if split == "leave_one_out":
        _refuse_short_users(interactions, settings.limit_data_rows)
        interactions = leave_one_out(interactions)
    elif split == "global_time":
        interactions = global_time(interactions, settings.val_share, settings.test_share)
    parts = set(interactions.filter(pl.col("position") > 0)["part"])
    missing = [name for name, part in PARTS.items() if part not in parts]
    if missing:
        raise UserError(
            f"dataset.split={split} leaves no {' and no '.join(missing)} example (an interaction with a history): "
            "loosen the filters, raise dataset.limit_data_rows, or choose another split."
        )
    return interactions


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


def _items(raw_items: pl.Series, known: pl.DataFrame, items_path: Path, log_path: Path) -> pl.DataFrame:
    """Returns `item`, `raw_id`, `title`, `text` of the items in the log, in the order of their numbers."""
    items = pl.DataFrame({"item": raw_items}).join(known, on="item", how="left", maintain_order="left")
    untitled = items.filter(pl.col("title").fill_null("").str.replace_all(INVISIBLE, "") == "")
    if len(untitled):
        raise UserError(
            f"Item {untitled['item'][0]} of {log_path} has no title in {items_path} ({len(untitled)} such items): "
            "add its line there."
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
        first_id = 0
        for split, part in PARTS.items():
            examples = examples_of(interactions, part, first_id)
            _write_table(examples, temporary / f"examples_{split}.parquet")
            counts[f"{split}_examples"] = len(examples)
            first_id += len(examples)
        manifest["counts"] = counts


def _write_table(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", compression_level=1)
