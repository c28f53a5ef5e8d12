"""Prepared dataset, events of a service → a log with both, to train on."""

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.artefact import UPDATED_LOG, fingerprint, sha256_of, writing
from ...core.errors import UserError
from ...core.settings_reading import changed
from ..program.run import Run
from ..program.settings import RunSettings
from .base import Stage
from .prepare import Prepare
from .served import how_new_items_are_read

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


class UpdatedLog(Stage):
    """`data/updates/<dataset>/<key>/`: `interactions.parquet` and `items.parquet`, for `dataset.reader=table`.

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

        store = Events(self.settings.server.events or "")
        try:
            rows = [(each.user, each.item, each.time) for each in store.all()]
        finally:
            store.close()
        return pl.DataFrame(rows, {"user": pl.String, "item": pl.String, "time": pl.Float64}, orient="row")

    def own_folder(self) -> Path:
        new = self.settings.serve.new_items
        named = None if new is None else [sha256_of(new), self.settings.serve.new_items_texts]
        return self.keyed(self.settings.paths.updates_dir, "", fingerprint(self.events.rows()), named)

    def check_settings(self) -> None:
        if self.settings.server.events is None:
            raise UserError("run_update trains on what POST /events has kept: name its store, server.events=…")
        if self.settings.dataset.split == "sessions":
            raise UserError(
                "Which session an event is of cannot be told: with dataset.split=sessions, bring the events into a log "
                "of your own, and train on that."
            )

    def make(self) -> None:
        import polars as pl

        from ...data.raw.layouts import LAYOUTS
        from ...data.raw.times import TICKS
        from ...data.updated_log import ITEMS, LOG, as_items, as_log, with_events

        layout, folder = LAYOUTS[self.settings.dataset.reader], self.before.require()
        interactions = as_log(folder, layout.ticks if layout.times else TICKS)
        items = pl.read_parquet(folder / "items.parquet").select(pl.col("raw_id").alias("item"), "title", "text")
        items = pl.concat([items, self._new_items(items["item"])])
        usable = self.events.filter(pl.col("item").is_in(items["item"].implode()))
        if len(usable) < len(self.events):
            log.warning(
                "%d of %d events are of items that neither the log nor serve.new_items knows, and are left out",
                len(self.events) - len(usable),
                len(self.events),
            )
        with writing(self.folder, self.kind, {**self.about({}), "events": len(usable)}) as temporary:
            with_events(interactions, usable).write_parquet(temporary / LOG)
            as_items(items).write_parquet(temporary / ITEMS)

    def _new_items(self, known: "pl.Series") -> "pl.DataFrame":
        """Returns the new ones of `serve.new_items` that somebody has taken since: `item`, `title`, `text`."""
        import polars as pl

        from ...data.raw.columns import read_items

        if self.settings.serve.new_items is None:
            return pl.DataFrame(schema={"item": pl.String, "title": pl.String, "text": pl.String})
        rows = read_items(self.settings.serve.new_items, how_new_items_are_read(self.settings))
        return rows.filter(pl.col("item").is_in(self.events["item"].implode()) & ~pl.col("item").is_in(known.implode()))

    def settings_after(self) -> RunSettings:
        """Returns the settings of the same run on this log."""
        from ...data.updated_log import settings_of_log

        dataset = settings_of_log(self.settings.dataset, self.folder)
        return changed(self.settings, {f"dataset.{key}": value for key, value in dataset.items()})
