"""How well items are recommended that came after a student's training: some are held out of it, and ranked by their
texts in the test split.
"""

from dataclasses import asdict, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ...core.artefact import read_manifest, write_json, write_text
from ...core.errors import UserError
from ...core.metrics import ndcg
from ...data.held_out_items import HeldOutItems
from ...evaluation.comparison import Comparison, how_compared, tables
from ...evaluation.popularity import Popularity
from ...evaluation.ranking import Evaluation, Scorer, evaluate
from ...evaluation.significance import Model, compare
from ...evaluation.tables import TextTable
from ...evaluation.text_neighbours import TextNeighbours
from ...student.layers.embedding import without_mean
from ...student.new_items import with_new_items
from ...teacher.language_model.encodings import item_encodings
from ..program.run import Run
from ..stages.prepare import PrepareWithoutItems
from ..stages.road import Road

NEWEST = (1, 3, 10)  # items of a history whose texts neighbours are sought of: validation chooses
BOOSTS = tuple(half / 2 for half in range(-6, 13))  # added to the scores of new items: validation chooses
K = 10  # of the NDCG on validation by which is chosen


class Part(NamedTuple):
    """Examples of one kind, and which items compete for their targets.

    title: What tables call it.
    of_new: Whether the targets are new items.
    known_compete, new_compete: Which items are ranked.
    """

    title: str
    of_new: bool
    known_compete: bool
    new_compete: bool


AMONG_NEW = Part("New items among new items", of_new=True, known_compete=False, new_compete=True)
AMONG_ALL = Part("New items in the whole catalogue", of_new=True, known_compete=True, new_compete=True)
KNOWN_ALONE = Part("Known items, without new ones", of_new=False, known_compete=True, new_compete=False)
KNOWN = Part("Known items in the whole catalogue", of_new=False, known_compete=True, new_compete=True)


class ColdStart(NamedTuple):
    """What was found: comparisons by `compare.metrics`, the first model of each being what the others are held against.

    boost: The most of `BOOSTS` that costs known items no more of their NDCG@10 on validation than was allowed; None:
        even the least costs more.
    among_new, among_all: Targets that the student has not seen in training.
    known: Targets that it has.
    """

    boost: float | None
    among_new: Comparison
    among_all: Comparison
    known: Comparison


def measure_cold_start(run: Run) -> ColdStart | None:
    """Trains the student without the items held out, gives them vectors from their texts, and ranks the test split;
    returns None after a dry run. Writes `metrics/cold_start.{md,json}`.

    Raises:
        UserError: A stage cannot be made, or no item held out is a target of validation and test.
    """
    settings = run.settings
    prepared = PrepareWithoutItems(run, settings.cold_start.share)
    road = Road(run, prepared)
    distilled = settings.cold_start.student == "distilled"
    stage = road.distilled if distilled else road.baseline
    teaching = road.teaching() if distilled else []
    if not road.go(prepared, road.encodings, *teaching, stage):
        return None
    held = prepared.held_out
    new = item_encodings(
        settings.teacher, held.whole.catalogue.texts[held.num_known :], settings.paths.language_models_dir
    )
    encodings = torch.cat([road.encodings.load(), new])
    made = read_manifest(stage.folder, "name", "architecture")
    counts = held.known.train_item_counts()[1:]
    student = with_new_items(stage.load(), made["name"], made["architecture"], counts, encodings)
    ranking = _Ranking(run, held, student.history_length)
    neighbours = _neighbours(encodings, ranking)
    nearest = f"Texts nearest to the newest {neighbours.newest}"
    others: dict[str, Scorer] = {
        nearest: neighbours.score,
        "Popularity": Popularity(held.whole.train_item_counts()).score,
    }
    plain = lambda batch: student.predict(batch.history)  # noqa: E731
    boost = _boost(plain, ranking, settings.cold_start.loss)
    students: dict[str, Scorer] = {"Student": plain}
    if boost:
        students[f"Student, new items {boost:+g}"] = ranking.boosted(plain, boost)
    found = ColdStart(
        boost,
        ranking.compared({name: (score, AMONG_NEW) for name, score in (others | {"Student": plain}).items()}),
        ranking.compared({name: (score, AMONG_ALL) for name, score in (others | students).items()}),
        ranking.compared(
            {
                "Student without new items": (plain, KNOWN_ALONE),
                **{name: (score, KNOWN) for name, score in students.items()},
            }
        ),
    )
    _report(run, found)
    return found


class _Ranking:
    """Ranks targets of one kind among items of one kind.

    Args:
        run: Whose settings.
        held: Which items are new.
        history_length: The most items of a history that are shown.
    """

    def __init__(self, run: Run, held: HeldOutItems, history_length: int) -> None:
        self.run, self.held, self.history_length = run, held, history_length
        self.is_new = torch.arange(1, held.whole.num_items + 1) > held.num_known

    def of(self, score: Scorer, part: Part, split: str) -> Evaluation:
        """Returns how `score` ranks the targets of a part.

        Raises:
            UserError: There are none.
        """
        whole, examples = self.held.whole, self.held.whole.examples[split]
        target = whole.item_log[whole.offsets[examples.user] + examples.end]
        examples = examples.subset(self.is_new[target - 1] == part.of_new)
        if not len(examples):
            kind = "new" if part.of_new else "known"
            raise UserError(
                f"No {split} example of {whole.name} has a {kind} item as its target: choose another cold_start.share."
            )
        competes = torch.where(self.is_new, part.new_compete, part.known_compete)
        out = torch.zeros(len(competes)).masked_fill(~competes, -torch.inf)
        return evaluate(
            lambda batch: score(batch)[:] + out,
            replace(whole, examples={split: examples}),
            split,
            self.run.settings.metrics,
            history_length=self.history_length,
            device=torch.device("cpu"),
            title=f"{part.title}: {split}",
        )

    def on_validation(self, score: Scorer, part: Part) -> float:
        """Returns the NDCG@10 of the part's validation targets."""
        return ndcg(self.of(score, part, "val").rank, K).mean().item()

    def boosted(self, score: Scorer, boost: float) -> Scorer:
        """Returns what adds `boost` to the scores of new items."""
        more = boost * self.is_new
        return lambda batch: score(batch)[:] + more

    def compared(self, models: dict[str, tuple[Scorer, Part]]) -> Comparison:
        """Returns how models rank the same test targets, the first being what the others are held against."""
        ranked = {name: self.of(score, part, "test") for name, (score, part) in models.items()}
        user = next(iter(ranked.values())).user
        return compare([Model(name, [each.rank]) for name, each in ranked.items()], user, 0, self.run.settings.compare)


def _neighbours(encodings: Tensor, ranking: _Ranking) -> TextNeighbours:
    """Returns those that rank validation's new items best among themselves."""
    centred = without_mean(encodings)
    tried = [TextNeighbours(centred, newest) for newest in NEWEST]
    return max(tried, key=lambda each: ranking.on_validation(each.score, AMONG_NEW))


def _boost(score: Scorer, ranking: _Ranking, loss: float) -> float | None:
    """See `ColdStart.boost`."""
    least = (1 - loss) * ranking.on_validation(score, KNOWN_ALONE)
    for boost in reversed(BOOSTS):
        if ranking.on_validation(ranking.boosted(score, boost), KNOWN) >= least:
            return boost
    return None


def _report(run: Run, found: ColdStart) -> None:
    folder = run.dir / "metrics"
    folder.mkdir(exist_ok=True)
    compared = {name: asdict(each) for name, each in found._asdict().items() if isinstance(each, Comparison)}
    write_json(folder / "cold_start.json", {"boost": found.boost, **compared})
    sections = [f"## {title}: {table.title}\n\n{table.markdown()}" for title, table in _tables(found)]
    write_text(folder / "cold_start.md", "\n".join([*sections, f"{how_compared(found.known)}\n"]))


def _tables(found: ColdStart) -> list[tuple[str, TextTable]]:
    parts = ((AMONG_NEW, found.among_new), (AMONG_ALL, found.among_all), (KNOWN, found.known))
    return [(part.title, table) for part, comparison in parts for table in tables(comparison)]


def show(found: ColdStart | None) -> None:
    """Prints the tables; nothing after a dry run."""
    for title, table in _tables(found) if found else []:
        replace(table, title=f"{title}: {table.title}").show()
