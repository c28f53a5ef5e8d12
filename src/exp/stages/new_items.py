"""The table `serve.new_items`: items that came after the training."""

import logging
from typing import TYPE_CHECKING, Any

from ...core.artefact import sha256_of
from ...core.errors import UserError
from ...core.settings_reading import changed
from ...data.raw.log import ending_of
from ..program.settings import RunSettings

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


class TableOfNewItems:
    """Items by raw id, with their texts.

    Args:
        settings: Of a run that names such a table: which file, and how it is read.
    """

    def __init__(self, settings: RunSettings) -> None:
        serve = settings.serve
        assert serve.new_items is not None
        self.path, self.dataset = serve.new_items, settings.dataset
        if serve.new_items_texts is not None:
            self.dataset = changed(settings.dataset, {"columns.texts": serve.new_items_texts})

    def check(self) -> None:
        """Makes sure that it can be read, before anything trains.

        Raises:
            UserError: It is not there, or is no such table.
        """
        from ...data.raw.columns import read_items

        if not self.path.is_file():
            raise UserError(f"serve.new_items={self.path} is not there: give a table of items, or null.")
        read_items(self.path, self.dataset)

    def counted(self) -> list[Any]:
        """Returns what counts of it: its contents, and how they are read."""
        how = self.dataset
        return [sha256_of(self.path), *ending_of(self.path), how.columns.plain(), how.separator, how.items_header]

    def read(self, known: "pl.Series") -> "pl.DataFrame":
        """Returns `item`, `title`, `text`, texts, of those items that have a text and are not `known`, by raw id; tells
        how many are passed over.
        """
        from ...data.preparation.filtering import can_be_seen
        from ...data.raw.columns import read_items

        rows = read_items(self.path, self.dataset)
        new = rows.filter(~rows["item"].is_in(known.implode()))
        named = new.filter(can_be_seen("text"))
        log.info(
            "%s: %d new items; %d are in the catalogue already, %d have no text and are passed over",
            self.path, len(named), len(rows) - len(new), len(new) - len(named),
        )  # fmt: skip
        return named


def table_of_new_items(settings: RunSettings) -> TableOfNewItems | None:
    """Returns the table that the settings name, or None."""
    return None if settings.serve.new_items is None else TableOfNewItems(settings)
