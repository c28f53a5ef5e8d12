"""The stage `prepare`: raw log → dataset. Reads, filters, splits and numbers once; later runs load."""

import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import polars as pl

from ..core.artefact import DATASET, MANIFEST, scratch, writing
from ..core.data_utils import numbered, sessions_by_column, sessions_by_gap
from ..core.errors import UserError
from .dataset import Dataset
from .preparation.filtering import (
    filtered,
    refuse_empty,
    refuse_nothing_left,
    refuse_unrated,
    refuse_untitled,
    titled_alone,
    with_titles,
)
from .preparation.log_on_disk import read_log
from .preparation.splitting import refuse_short_users, split_log
from .preparation.tables import items_of, write_tables
from .preparation.user_groups import UserGroups
from .raw.columns import ReadTable
from .raw.layouts import LAYOUTS, Layout
from .raw.log import RawLog, check_layout, find_raw_log, settings_that_count
from .settings import DatasetSettings

log = logging.getLogger(__name__)
Made = tuple[Iterable[pl.DataFrame], pl.Series, pl.DataFrame]  # what `write_tables` takes


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
    with scratch(folder) as files:
        if (reader := _reads_in_parts(layout, raw, settings)) is not None:
            made = _of_log_on_disk(reader, layout, raw, settings, files)
        else:
            made = _of_log_in_memory(layout, raw, settings)
        with writing(folder, DATASET, manifest) as temporary:
            manifest["counts"] = write_tables(temporary, *made, settings)


def _reads_in_parts(layout: Layout, raw: RawLog, settings: DatasetSettings) -> ReadTable | None:
    """Returns what reads a log that is too long to be in memory. Sessions are told apart, and named, in memory."""
    if settings.tells_sessions_apart or not isinstance(layout.read_log, ReadTable):
        return None
    return layout.read_log if layout.read_log.num_rows_about(raw.paths) > settings.rows_at_once else None


def _of_log_in_memory(layout: Layout, raw: RawLog, settings: DatasetSettings) -> Made:
    interactions, known = read_raw(layout, raw, settings)
    interactions = filtered(with_titles(interactions, known, settings), settings, raw.paths[0])
    interactions = split_log(interactions, settings)
    interactions, raw_users = numbered(interactions, "user", first=0)
    interactions, raw_items = numbered(interactions, "item", first=1)
    return [interactions], raw_users, items_of(raw_items, known, raw.paths, settings)


def _of_log_on_disk(reader: ReadTable, layout: Layout, raw: RawLog, settings: DatasetSettings, files: Path) -> Made:
    """The same by the same rules, with the same errors; columns are files in the folder `files`."""
    path = raw.paths[0]
    kept = read_log(partial(reader.in_parts, raw.paths, settings), files, settings.rows_at_once)
    known = _known_items(layout, raw, settings)
    titled = titled_alone(known, settings)
    if titled is not None:
        kept.keep_ids("item", kept.names["item"].is_in(titled.implode()).to_numpy())
        refuse_untitled(kept.num_kept())
    refuse_empty(len(kept), path)
    if settings.min_rating is not None:
        refuse_unrated(kept.columns, settings, path)
        rating, least = kept.columns["rating"], settings.min_rating
        kept.keep(lambda rows: (pl.Series(rating.read(rows)) >= least).to_numpy())
    counts = kept.core({"user": settings.min_user_interactions, "item": settings.min_item_interactions})
    refuse_nothing_left(kept.num_kept(), settings, path)
    raw_users, raw_items = (kept.names[name].filter(pl.Series(counts[name] > 0)) for name in ("user", "item"))
    groups = UserGroups(kept, counts, files)
    if settings.split == "leave_one_out":
        refuse_short_users(pl.DataFrame({"user": raw_users, "len": groups.user_counts}), settings)
    return groups.split(settings, raw_users), raw_users, items_of(raw_items, known, raw.paths, settings)


def read_raw(layout: Layout, raw: RawLog, settings: DatasetSettings) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Returns the log, whose users are sessions where it is split by them, and what is known of its items (`item`,
    `title`, `text`), or None where there are no titles by the settings' own word.

    Raises:
        UserError: A file is faulty.
    """
    interactions = layout.read_log(raw.paths[: layout.num_log_files], settings)
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
    return interactions, _known_items(layout, raw, settings)


def _known_items(layout: Layout, raw: RawLog, settings: DatasetSettings) -> pl.DataFrame | None:
    paths = raw.paths[layout.num_log_files :]
    return layout.read_items(paths[0], settings) if paths else None
