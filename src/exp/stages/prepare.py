"""Raw log → prepared dataset."""

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...core.artefact import DATASET, read_manifest
from ..program.run import Run
from .base import Stage

if TYPE_CHECKING:
    from ...data.dataset import Dataset
    from ...data.held_out_items import HeldOutItems
    from ...data.raw.log import RawLog

log = logging.getLogger(__name__)


class Prepare(Stage):
    """`data/processed/<name>/<fingerprint>/`: interactions, items, users, examples of every split."""

    title = "prepare"
    what = "prepared dataset"
    kind = DATASET
    command = "run_prepare"

    items_held_out: float | None = None

    def __init__(self, run: Run) -> None:
        super().__init__(run, self)

    @cached_property
    def raw(self) -> "RawLog":
        """The raw files; fetched where they are missing."""
        from ...data.raw.log import find_raw_log

        return find_raw_log(self.settings.dataset, self.settings.paths.data_dirs, fetch=not self.settings.dry_run)

    @property
    def fingerprint(self) -> str:
        """Of the raw files' contents and of the settings that change the result."""
        return self.raw.fingerprint

    def own_folder(self) -> Path:
        return self.settings.paths.processed_dir / self.settings.dataset.name / self.raw.fingerprint

    @cached_property
    def counts(self) -> dict[str, int]:
        """Numbers of users, items, interactions and examples of a dataset that is there."""
        return read_manifest(self.folder, "counts")["counts"]

    @cached_property
    def dataset(self) -> "Dataset":
        """The dataset itself, read once."""
        from ...data.dataset import Dataset

        return Dataset.load(self.require())

    def why_to_make_now(self) -> str | None:
        """See `Stage.why_to_make_now`; the same files and settings always give the same dataset."""
        return self.why_to_make()

    def ensure(self) -> None:
        """Prepares the dataset where it is not there; tells its size."""
        if self.why_to_make() is not None:
            super().ensure()
        counts = self.counts
        log.info(
            "%s %s: %s users, %s items, %s interactions; examples: %s train, %s val, %s test",
            self.settings.dataset.name,
            self.fingerprint,
            *(f"{counts[name]:,}" for name in ("users", "items", "interactions")),
            *(f"{counts[f'{split}_examples']:,}" for split in ("train", "val", "test")),
        )

    def make(self) -> None:
        from ...data.prepare import make_dataset

        make_dataset(self.settings.dataset, self.raw, self.folder)


class PrepareWithoutItems(Prepare):
    """The same artefact, read as if a share of the items, drawn from the run's seed, had come after the training: what
    students and teachers are trained on knows nothing of them.

    Args:
        run: Whose settings it follows.
        share: Of the items that have a text.
    """

    def __init__(self, run: Run, share: float) -> None:
        super().__init__(run)
        self.items_held_out = share

    @cached_property
    def held_out(self) -> "HeldOutItems":
        """The dataset with and without them."""
        from ...core.seed import generator
        from ...data.dataset import Dataset
        from ...data.held_out_items import draw_items, hold_out

        dataset, share = Dataset.load(self.require()), cast("float", self.items_held_out)
        return hold_out(dataset, draw_items(dataset, share, generator(self.settings.seed)))

    @property
    def dataset(self) -> "Dataset":
        return self.held_out.known

    @property
    def fingerprint(self) -> str:
        return self.dataset.fingerprint

    @property
    def counts(self) -> dict[str, int]:
        import polars as pl

        from ...data.preparation.filtering import NO_TITLE

        dataset = self.dataset
        sizes = {"users": dataset.num_users, "items": dataset.num_items, "interactions": len(dataset.item_log)}
        sizes["untitled_items"] = len(pl.DataFrame({"title": dataset.catalogue.titles}).filter(NO_TITLE))
        return sizes | {f"{split}_examples": len(examples) for split, examples in dataset.examples.items()}
