"""Student → served model: an ONNX file and the tables to answer by raw id."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.artefact import MANIFEST, SERVED, read_manifest
from ...core.errors import UserError
from ..program.run import Run
from .base import Prepared, Stage
from .distilled import Distilled
from .new_items import TableOfNewItems, table_of_new_items
from .students import Baseline
from .teacher.encodings import Encodings

if TYPE_CHECKING:
    from ...data.catalogue import Catalogue
    from ...student.models import SequentialRecommender


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

    @cached_property
    def new_items(self) -> TableOfNewItems | None:
        """Items that came after the training."""
        return table_of_new_items(self.settings)

    def inputs(self) -> Sequence[Stage]:
        return (self.student,) if self.new_items is None else (self.student, self.encodings)

    def implied(self) -> Sequence[Stage]:
        return self.inputs()[1:]

    def own_folder(self) -> Path:
        metrics = self.settings.metrics
        counted = [self.settings.serve.search, metrics.filter_seen, metrics.ks, *self._new_items_counted()]
        return self.keyed(self.settings.paths.served_dir, f"{self.student.folder.name}-", *counted)

    def _new_items_counted(self) -> list[Any]:
        if self.new_items is None:
            return []
        serve = self.settings.serve
        return [*self.new_items.counted(), serve.new_items_likeness, serve.new_items_boost]

    def check_settings(self) -> None:
        if self.new_items is not None:
            from ...student.new_items import check_kind

            if self.settings.serve.search == "bytes":
                raise UserError(
                    "serve.search=bytes looks for items by their vectors alone, and new items are recommended by their "
                    "texts, too: set serve.search=float32, or leave out serve.new_items."
                )
            self.new_items.check()
            check_kind(self.student.student.name)

    def become_newest(self) -> None:
        """Lets a service that looks for the newest take this one, made in this run or in an earlier one."""
        os.utime(self.folder / MANIFEST)

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
        if self.new_items is not None:
            dataset = replace(dataset, catalogue=self._grown(self.new_items, dataset.catalogue))
        if dataset.num_items > known:
            student = self._with_items_of(dataset.catalogue, student, made)
        write_served(
            self.folder,
            student,
            dataset,
            about,
            metrics.filter_seen,
            list(metrics.ks),
            self.settings.serve.search,
            new_items=dataset.num_items - known,
        )

    def _grown(self, table: TableOfNewItems, known: "Catalogue") -> "Catalogue":
        """Returns the catalogue with the new items behind it.

        Raises:
            UserError: The table is not what it was when this run began.
        """
        import polars as pl

        from ...data.catalogue import Catalogue

        rows = table.read(pl.Series(known.raw_ids, dtype=pl.String))
        self.unchanged_since_named(f"serve.new_items={table.path} has")
        columns = ((known.raw_ids, "item"), (known.titles, "title"), (known.texts, "text"))
        return Catalogue(*([*old, *rows[name].to_list()] for old, name in columns))

    def _with_items_of(
        self, catalogue: "Catalogue", student: "SequentialRecommender", made: dict[str, Any]
    ) -> "SequentialRecommender":
        """Returns the student with vectors for the items of a catalogue that it does not know."""
        from ...student.new_items import WithNewItems, grown

        counts = self.prepared.dataset.train_item_counts()[1:]
        encodings = self.encodings.load_with(catalogue.texts[student.num_items :])
        larger = grown(student, made["name"], made["architecture"], counts, encodings)
        serve = self.settings.serve
        return WithNewItems(
            larger, student.num_items, encodings, serve.new_items_likeness, serve.new_items_boost
        ).eval()
