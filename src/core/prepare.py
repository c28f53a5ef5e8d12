"""The stage `prepare`: raw log → dataset. Reads, filters, splits and numbers once; later runs load."""

import logging
from pathlib import Path

import polars as pl

from .artefact import MANIFEST, fingerprint, writing
from .data_utils import (
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
from .dataset import Dataset
from .errors import UserError
from .raw_files import find_raw_folder
from .raw_logs import LAYOUTS

FORMAT = 1  # of the artefact; raise it when the same raw files and settings come to give other contents
SPLIT_KINDS = ("leave_one_out", "global_time", "given")
FILTERS = ("min_rating", "min_user_interactions", "min_item_interactions")

log = logging.getLogger(__name__)


def prepare_dataset(settings: dict, data_dirs: list[Path], processed_dir: Path) -> Dataset:
    """Returns the dataset that `settings` describe; makes `processed_dir/<name>/<fingerprint>/` if it is not there.

    Args:
        settings: The keys of `conf/dataset/*.yaml`.
        data_dirs: Where raw files are looked for, in order; those found nowhere are fetched into the last.
        processed_dir: Where prepared datasets lie.

    Raises:
        UserError: A setting is wrong, raw files are missing or faulty, or nothing is left to learn from.
    """
    _check(settings)
    raw_folder, raw_sha256 = find_raw_folder(
        settings["raw_dir"], settings["files"], data_dirs, settings["publisher"], settings["wheel"]
    )
    chosen = _settings_that_count(settings)
    name, mark = settings["name"], fingerprint(FORMAT, raw_sha256, chosen)
    folder = processed_dir / name / mark
    if not (folder / MANIFEST).is_file():
        log.info("Preparing %s from %s", name, raw_folder)
        manifest = {
            "name": name,
            "fingerprint": mark,
            "format": FORMAT,
            "raw_files": raw_sha256,
            "settings": chosen,
            "prompt": settings["prompt"],
        }
        _make(folder, manifest, settings, raw_folder)
    return Dataset.load(folder)


def _settings_that_count(settings: dict) -> dict:
    """What changes the result: not the prompt, nor where the files came from."""
    keys = ["reader", "limit_data_rows", *FILTERS, "split"]
    if settings["split"] == "global_time":
        keys += ["val_share", "test_share"]
    return {key: settings[key] for key in keys}


def _check(settings: dict) -> None:
    """Tells all wrong settings at once."""
    faults = []
    layout = LAYOUTS.get(settings["reader"])
    split = settings["split"]
    if layout is None:
        faults.append(f"dataset.reader={settings['reader']} is none of {', '.join(LAYOUTS)}")
    elif len(settings["files"]) != layout.num_log_files + 1:
        faults.append(
            f"dataset.files lists {len(settings['files'])} files, but the reader takes {layout.num_log_files + 1}"
        )
    if split not in SPLIT_KINDS:
        faults.append(f"dataset.split={split} is none of {', '.join(SPLIT_KINDS)}")
    elif layout is not None and split == "given" and layout.num_log_files == 1:
        faults.append(
            "dataset.split=given needs a reader with train, val and test files, such as amazon_sequential_splits"
        )
    elif layout is not None and split == "global_time" and not layout.times:
        faults.append(f"dataset.split=global_time needs real times, which {settings['reader']} has not")
    if split == "global_time":
        shares = settings["val_share"], settings["test_share"]
        if min(shares) <= 0 or sum(shares) >= 1:
            faults.append("dataset.val_share and dataset.test_share must be above 0 and below 1 together")
    limit = settings["limit_data_rows"]
    if limit != -1 and limit < 1:
        faults.append(f"dataset.limit_data_rows={limit} is neither -1 (all) nor a number of rows")
    if faults:
        raise UserError("; ".join(faults) + ": change these settings.")


def _make(folder: Path, manifest: dict, settings: dict, raw_folder: Path) -> None:
    layout = LAYOUTS[settings["reader"]]
    *log_paths, items_path = (raw_folder / file["name"] for file in settings["files"])
    limit = settings["limit_data_rows"]
    interactions = layout.read_log(log_paths, None if limit == -1 else limit)
    interactions = _filtered(interactions, settings, log_paths[0])
    interactions = _split(in_order(interactions), settings)
    interactions, raw_users = numbered(interactions, "user", first=0)
    interactions, raw_items = numbered(interactions, "item", first=1)
    items = _items(raw_items, layout.read_items(items_path), items_path, log_paths[0])
    _write(folder, manifest, interactions, raw_users, items)


def _filtered(interactions: pl.DataFrame, settings: dict, path: Path) -> pl.DataFrame:
    if interactions.is_empty():
        raise UserError(f"{path} holds no interactions: copy it again, or choose another dataset.")
    if settings["min_rating"] is not None:
        if "rating" not in interactions.columns:
            raise UserError(f"dataset.min_rating={settings['min_rating']}, but {path} has no ratings: set it to null.")
        interactions = with_min_rating(interactions, settings["min_rating"])
    kept = [column for column in ("user", "item", "timestamp", "part") if column in interactions.columns]
    interactions = k_core(
        interactions.select(kept), settings["min_user_interactions"], settings["min_item_interactions"]
    )
    if interactions.is_empty():
        filters = ", ".join(f"dataset.{key}={settings[key]}" for key in FILTERS)
        raise UserError(f"No interaction of {path} is left after {filters}: loosen them.")
    return interactions


def _split(interactions: pl.DataFrame, settings: dict) -> pl.DataFrame:
    """Returns the ordered log with its column `part`."""
    split = settings["split"]
    if split == "leave_one_out":
        _refuse_short_users(interactions, settings["limit_data_rows"])
        interactions = leave_one_out(interactions)
    elif split == "global_time":
        interactions = global_time(interactions, settings["val_share"], settings["test_share"])
    if interactions.filter((pl.col("part") == TRAIN) & (pl.col("position") > 0)).is_empty():
        raise UserError(
            f"dataset.split={split} leaves no train example (an interaction with a history): loosen the filters, raise "
            "dataset.limit_data_rows, or choose another split."
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
    untitled = items.filter(pl.col("title").is_null() | (pl.col("title") == ""))
    if len(untitled):
        raise UserError(
            f"Item {untitled['item'][0]} of {log_path} has no title in {items_path} ({len(untitled)} such items): "
            "add its line there."
        )
    number = pl.int_range(1, len(items) + 1, dtype=pl.Int32)
    return items.select(number.alias("item"), pl.col("item").cast(pl.String).alias("raw_id"), "title", "text")


def _write(folder: Path, manifest: dict, interactions: pl.DataFrame, raw_users: pl.Series, items: pl.DataFrame) -> None:
    users = users_of(interactions).with_columns(raw_id=raw_users.cast(pl.String))
    with writing(folder, manifest) as temporary:
        _write_table(interactions.select("user", "item", "timestamp", "position"), temporary / "interactions.parquet")
        _write_table(items, temporary / "items.parquet")
        _write_table(users.select("user", "raw_id", "num_interactions", "num_train"), temporary / "users.parquet")
        counts = {"users": len(users), "items": len(items), "interactions": len(interactions)}
        first_id = 0
        for split, part in {"train": TRAIN, "val": VAL, "test": TEST}.items():
            examples = examples_of(interactions, part, first_id)
            _write_table(examples, temporary / f"examples_{split}.parquet")
            counts[f"{split}_examples"] = len(examples)
            first_id += len(examples)
        manifest["counts"] = counts


def _write_table(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", compression_level=1)
