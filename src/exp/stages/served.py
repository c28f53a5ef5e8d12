"""Student → served model: an ONNX file and the tables to answer by raw id."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.artefact import SERVED, read_manifest, sha256_of
from ...core.errors import UserError
from ...core.settings_reading import changed
from ...data.settings import DatasetSettings
from ..program.run import Run
from ..program.settings import RunSettings
from .base import Prepared, Stage
from .distilled import Distilled
from .students import Baseline
from .teacher.encodings import Encodings

if TYPE_CHECKING:
    from ...data.catalogue import Catalogue
    from ...student.models import SequentialRecommender

log = logging.getLogger(__name__)


def how_new_items_are_read(settings: RunSettings) -> DatasetSettings:
    """Returns what the columns of the table `serve.new_items` are called."""
    texts = settings.serve.new_items_texts
    return settings.dataset if texts is None else changed(settings.dataset, {"columns.texts": texts})


class Served(Stage):
    """`data/served/<dataset>/<student>-<key>/`: see `serve.files`.

    Args:
        run, prepared: See `Stage`.
        student: What is served.
        encodings: Of the texts of its items: what the vectors of new ones are learned from.
    """

    title = "served model"
    what = "served model"
    kind = SERVED
    command = "run_export_onnx"
    elsewhere = "serve.model"

    def __init__(self, run: Run, prepared: Prepared, student: Baseline | Distilled, encodings: Encodings) -> None:
        super().__init__(run, prepared)
        self.student, self.encodings = student, encodings

    @property
    def new_items(self) -> Path | None:
        """A table of items that came after the training."""
        return self.settings.serve.new_items

    def inputs(self) -> Sequence[Stage]:
        return (self.student,) if self.new_items is None else (self.student, self.encodings)

    def implied(self) -> Sequence[Stage]:
        return self.inputs()[1:]

    def own_folder(self) -> Path:
        metrics = self.settings.metrics
        counted = [metrics.filter_seen, metrics.ks, *self._new_items_counted()]
        return self.keyed(self.settings.paths.served_dir, f"{self.student.folder.name}-", *counted)

    def _new_items_counted(self) -> list[Any]:
        """Returns what counts of the table of new items, and of how they score."""
        if self.new_items is None:
            return []
        serve, columns = self.settings.serve, how_new_items_are_read(self.settings).columns
        return [sha256_of(self.new_items), columns.plain(), serve.new_items_likeness, serve.new_items_boost]

    def check_settings(self) -> None:
        if self.new_items is not None and not self.new_items.is_file():
            raise UserError(f"serve.new_items={self.new_items} is not there: give a table of items, or null.")

    def make(self) -> None:
        from ...serve.onnx.export import write_served

        made = read_manifest(self.student.folder, "name", "architecture")
        about = {
            **self.about({}),
            "student": self.student.folder.name,
            "student_name": made["name"],
            "student_is_distilled": isinstance(self.student, Distilled),
            "architecture": made["architecture"],
            "seed": made["seed"],
        }
        metrics, dataset, student = self.settings.metrics, self.prepared.dataset, self.student.load()
        known = dataset.num_items
        catalogue = dataset.catalogue if self.new_items is None else self._grown(self.new_items, dataset.catalogue)
        if catalogue.num_items > known:
            student = self._with_items_of(catalogue, student, made)
            dataset = replace(dataset, catalogue=catalogue)
        write_served(
            self.folder,
            student,
            dataset,
            about,
            metrics.filter_seen,
            list(metrics.ks),
            new_items=dataset.num_items - known,
        )

    def _grown(self, table: Path, known: "Catalogue") -> "Catalogue":
        """Returns the catalogue with the items of a table behind it that it does not know yet and that have a text."""
        from ...data.catalogue import Catalogue
        from ...data.raw.columns import read_items

        rows = read_items(table, how_new_items_are_read(self.settings))
        new = rows.filter(~rows["item"].is_in(known.raw_ids))
        named = new.filter(new["text"] != "")
        log.info(
            "%s: %d new items; %d are in the catalogue already, %d have no text and are passed over",
            table, len(named), len(rows) - len(new), len(new) - len(named),
        )  # fmt: skip
        columns = ((known.raw_ids, "item"), (known.titles, "title"), (known.texts, "text"))
        return Catalogue(*([*old, *named[name].to_list()] for old, name in columns))

    def _with_items_of(
        self, catalogue: "Catalogue", student: "SequentialRecommender", made: dict[str, Any]
    ) -> "SequentialRecommender":
        """Returns the student with vectors for the items of a catalogue that it does not know."""
        import torch

        from ...student.new_items import WithNewItems, grown
        from ...teacher.language_model.encodings import item_encodings

        new = item_encodings(
            self.settings.teacher, catalogue.texts[student.num_items :], self.settings.paths.language_models_dir
        )
        counts = self.prepared.dataset.train_item_counts()[1:]
        encodings = torch.cat([self.encodings.load(), new])
        larger = grown(student, made["name"], made["architecture"], counts, encodings)
        serve = self.settings.serve
        return WithNewItems(
            larger, student.num_items, encodings, serve.new_items_likeness, serve.new_items_boost
        ).eval()
