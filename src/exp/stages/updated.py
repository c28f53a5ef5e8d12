"""Prepared dataset, events of a service → a log with both, to train on."""

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.artefact import UPDATED_LOG, fingerprint, writing
from ...core.errors import UserError
from ...core.settings_reading import changed
from ..program.run import Run
from ..program.settings import RunSettings
from .base import Stage
from .new_items import TableOfNewItems, table_of_new_items
from .prepare import Prepare

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


class UpdatedLog(Stage):
    """`data/updates/<dataset>/<key>/`: `interactions.parquet` and `items.parquet`, for `dataset.reader=table`, and the
    rest of `serve.new_items`, what nobody has taken yet, as a table of the same columns.

    Args:
        run: Whose settings.
        before: The dataset that the events go on from.
    """

    title = "updated log"
    what = "log with the events in it"
    kind = UPDATED_LOG
    command = "run_update"

    def __init__(self, run: Run, before: Prepare) -> None:
        super().__init__(run, before)
        self.before = before

    @cached_property
    def events(self) -> "pl.DataFrame":
        """All that the service has kept: `user`, `item`, `time`, oldest first.

        Raises:
            UserError: The store cannot be read.
        """
        import polars as pl

        from ...serve.events import Events

        store = Events(self.settings.server.events or "", make=False)
        try:
            rows = [(each.user, each.item, each.time) for each in store.all()]
        finally:
            store.close()
        return pl.DataFrame(rows, {"user": pl.String, "item": pl.String, "time": pl.Float64}, orient="row")

    @cached_property
    def new_items(self) -> TableOfNewItems | None:
        """Items that came after the training."""
        return table_of_new_items(self.settings)

    def own_folder(self) -> Path:
        new = self.new_items and self.new_items.counted()
        return self.keyed(self.settings.paths.updates_dir, "", fingerprint(self.events.rows()), new)

    def check_settings(self) -> None:
        if self.settings.server.events is None:
            raise UserError("run_update trains on what POST /events has kept: name its store, server.events=…")
        if self.new_items is not None:
            self.new_items.check()
        if self.settings.dataset.split == "sessions":
            raise UserError(
                "Which session an event is of cannot be told: with dataset.split=sessions, bring the events into a log "
                "of your own, and train on that."
            )

    def make(self) -> None:
        import polars as pl

        from ...data.raw.layouts import LAYOUTS
        from ...data.raw.times import TICKS
        from ...data.updated_log import ITEMS, LOG, NEW_ITEMS, as_items, as_log, usable, with_events

        layout, folder = LAYOUTS[self.settings.dataset.reader], self.before.require()
        interactions = as_log(folder, layout.ticks if layout.times else TICKS)
        items = pl.read_parquet(folder / "items.parquet").select(pl.col("raw_id").alias("item"), "title", "text")
        new = items.clear()
        if self.new_items is not None:
            new = self.new_items.read(items["item"])
            self.unchanged_since_named(f"serve.new_items={self.new_items.path} has")
        taken = new.filter(pl.col("item").is_in(self.events["item"].implode()))
        items = pl.concat([items, taken])
        events = usable(self.events, items["item"])
        grown = with_events(interactions, events)
        self._tell_of_short_users(grown)
        rest = new.filter(~pl.col("item").is_in(taken["item"].implode()))
        with writing(self.folder, self.kind, {**self.about({}), "events": len(grown) - len(interactions)}) as temporary:
            grown.write_parquet(temporary / LOG)
            as_items(items).write_parquet(temporary / ITEMS)
            if len(rest):
                as_items(rest).write_parquet(temporary / NEW_ITEMS)

    def _tell_of_short_users(self, grown: "pl.DataFrame") -> None:
        from ...data.updated_log import FEWEST, splits_by_user

        short = int((grown.group_by("user").len()["len"] < FEWEST).sum())
        if short and splits_by_user(self.settings.dataset):
            log.warning(
                "%d users have fewer than %d interactions, of which the last two would be held out: they are left out",
                short,
                FEWEST,
            )

    def settings_after(self) -> RunSettings:
        """Returns the settings of the same run on this log."""
        from ...data.updated_log import NEW_ITEMS, settings_of_log

        dataset = settings_of_log(self.settings.dataset, self.folder)
        rest = self.folder / NEW_ITEMS
        new = {"serve.new_items": str(rest) if rest.is_file() else None, "serve.new_items_texts": None}
        return changed(self.settings, new | {f"dataset.{key}": value for key, value in dataset.items()})
