"""The work of an export, cut into units: each is a range of what the teacher reads at once, and is kept when done."""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...core.artefact import EXPORTED_PART, fingerprint, opened, writing
from ...core.errors import UserError
from ...data.dataset import Dataset, Examples
from ..ensemble.calibration import EnsembleMember
from ..ensemble.opinion_pool import OpinionPool
from ..interfaces import Reading, best_items
from ..settings import ExportSettings

PART = 4096  # examples of a unit, about
RANKED = "ranked.safetensors"  # within a kept unit

log = logging.getLogger(__name__)


class Ranking(Protocol):
    """What is asked of a model whose rankings are written; see `TeacherModel`."""

    def readings(self, dataset: Dataset, examples: Examples) -> Sequence[Reading]: ...

    def item_embeddings(self) -> Tensor: ...

    def text_embeddings(self) -> Tensor: ...

    def trained_state(self) -> dict[str, Tensor]:
        """Returns the weights that its rankings depend on, beside those that nobody trained."""

    def parameters(self) -> Iterator[nn.Parameter]: ...


class Units:
    """All that is asked of a teacher, unit by unit. Every reading stands in one unit, and is read once.

    Of one key all processes cut alike, and find the same bytes on machines that compute alike.

    Args:
        model, dataset, examples, settings: See `export_teacher_outputs`.
        tile: Examples whose scores of the whole catalogue are there at once.
        folder: Where units are kept.
    """

    def __init__(
        self, model: Ranking, dataset: Dataset, examples: Examples, settings: ExportSettings, tile: int, folder: Path
    ) -> None:
        self.dataset, self.examples, self.settings, self.tile = dataset, examples, settings, tile
        self.readings = in_ranges(model.readings(dataset, examples))
        _refuse_parts(self.readings, len(examples))
        key = _key(model, examples, settings, [[reading.rows for reading in unit] for unit in self.readings], tile)
        self.key, self.folder = key, folder

    def __len__(self) -> int:
        return len(self.readings)

    def rows(self, unit: int) -> Tensor:
        """Returns the rows of the examples that a unit asks about, `[m]` int64."""
        return torch.cat([reading.rows for reading in self.readings[unit]])

    def place(self, unit: int) -> Path:
        """Returns the folder of a unit that is kept."""
        return self.folder / f"{self.key}-{unit}"

    def claim(self, of: str) -> Path:
        """Returns where a process says that it is at something of this export."""
        return self.folder / f"{self.key}-{of}.claim"

    def ask(self, unit: int) -> dict[str, Tensor]:
        """Asks the teacher and keeps what it says.

        Returns:
            By row of `rows`: `items [m, k]` int64, `scores [m, k]` float32, perhaps `user_states [m, d]` float16; and
            what they cost: `tokens_read [1]` int64, `seconds [1]` float64.

        Raises:
            UserError: States are asked for of a teacher that has none.
        """
        start, tokens_read = time.perf_counter(), 0
        items, scores, states = [], [], []
        for reading in self.readings[unit]:
            said = reading.read()
            if not torch.equal(said.rows.cpu(), reading.rows.cpu()):
                raise UserError(
                    "A teacher of your own scores other examples than its reading names, or in another order: give "
                    "`Scored.rows` as `Reading.rows` has them."
                )
            for first in range(0, len(said.rows), self.tile):
                some = slice(first, first + self.tile)
                best, log_p = self.best(said.scores[some], said.rows[some])
                items.append(best.cpu())
                scores.append(log_p.cpu())
            if self.settings.user_states:
                if said.user_states is None:
                    raise UserError(
                        "teacher.export.user_states=true asks for representations of the histories, and this teacher "
                        "has none: set it to false."
                    )
                states.append(said.user_states.half().cpu())
            tokens_read += said.tokens_read
        cost = {
            "tokens_read": torch.tensor([tokens_read]),
            "seconds": torch.tensor([time.perf_counter() - start], dtype=torch.float64),
        }
        told = {"items": torch.cat(items), "scores": torch.cat(scores), **cost}
        if self.settings.user_states:
            with torch.autocast("cpu", enabled=False):  # which knows no float16
                told["user_states"] = torch.cat(states)
        with writing(self.place(unit), EXPORTED_PART, {}) as temporary:
            save_file(told, temporary / RANKED)
        return told

    def kept(self, unit: int) -> dict[str, Tensor] | None:
        """Returns what `ask` did; None where nothing is kept, or what has changed since it was written."""
        try:
            opened(self.place(unit), EXPORTED_PART)
            return load_file(self.place(unit) / RANKED)
        except (UserError, OSError) as error:
            log.warning("Asked again: %s", error)
            return None

    def best(self, scores: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `best_items` of scores `[m, num_items]`, of the examples `rows [m]`."""
        seen = self.dataset.batch(self.examples.subset(rows), 1, with_seen=self.settings.exclude_seen).seen
        return best_items(scores, self.settings.k, None if seen is None else seen.to(scores.device))


def in_ranges(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Returns the readings in order, those together that begin within the same `PART` examples."""
    begins, begin = [], 0
    for reading in readings:
        begins.append(begin // PART)
        begin += len(reading.rows)
    numbered = groupby(zip(begins, readings, strict=True), key=lambda each: each[0])
    return [[reading for _, reading in unit] for _, unit in numbered]


def _refuse_parts(units: list[list[Reading]], num_examples: int) -> None:
    rows = torch.cat([torch.zeros(0, dtype=torch.long), *(reading.rows for unit in units for reading in unit)])
    if not torch.equal(rows.sort().values, torch.arange(num_examples)):
        raise UserError(
            f"A teacher of your own cuts {num_examples:,} examples into readings that do not hold each of them once "
            "(`TeacherModel.readings`)."
        )


def _key(model: Ranking, examples: Examples, settings: ExportSettings, units: list[list[Tensor]], tile: int) -> str:
    """Returns what units of the same export have in common: the teacher's trained weights, how it ranks by them, what
    it is asked, and how that is cut.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.trained_state().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().contiguous().numpy().data)
    for rows in (examples.example_id, *(rows for unit in units for rows in unit)):
        digest.update(rows.numpy().data)
    cut = [[len(rows) for rows in unit] for unit in units], tile
    autocast = torch.is_autocast_enabled(next(model.parameters()).device.type)  # which differs between machines
    return fingerprint(digest.hexdigest(), settings.key(), how_it_ranks(model), autocast, cut)


def how_it_ranks(model: object) -> dict[str, float] | None:
    """Returns what was chosen on validation of how a model ranks; None of one that ranks as it was trained."""
    if isinstance(model, EnsembleMember):
        return model.calibration._asdict()
    return model.ranks_by if isinstance(model, OpinionPool) else None
