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
from ...student.new_items import WithNewItems, check_kind, grown
from ..program.run import Run
from ..stages.prepare import PrepareWithoutItems
from ..stages.road import Road

NEWEST = (1, 3, 10)  # items of a history whose texts neighbours are sought of: validation chooses
LIKENESS = (4.0, 8.0, 12.0, 16.0)  # `WithNewItems`: validation chooses, too
BOOSTS = tuple(half / 2 for half in range(-6, 13))
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

    likeness: That of `LIKENESS` that ranks validation's new items best among themselves.
    boost: The most of `BOOSTS` that costs known items no more of their NDCG@10 on validation than was allowed; None:
        even the least costs more, or known items are not ranked at all.
    among_new, among_all: Targets that the student has not seen in training.
    known: Targets that it has.
    """

    likeness: float
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
    check_kind(settings.student.name)
    prepared = PrepareWithoutItems(run, settings.cold_start.share)
    road = Road(run, prepared)
    distilled = settings.cold_start.student == "distilled"
    stage = road.distilled if distilled else road.baseline
    teaching = road.teaching() if distilled else []
    if not road.go(prepared, road.encodings, *teaching, stage):
        return None
    held = prepared.held_out
    encodings = road.encodings.load_with(held.whole.catalogue.texts[held.num_known :])
    made = read_manifest(stage.folder, "name", "architecture")
    counts = held.known.train_item_counts()[1:]
    larger = grown(stage.load(), made["name"], made["architecture"], counts, encodings)
    ranking = _Ranking(run, held, larger.history_length)

    def student(likeness: float) -> Scorer:
        model = WithNewItems(larger, held.num_known, encodings, likeness, boost=0.0).eval()
        return lambda batch: model.predict(batch.history)

    likeness = max(LIKENESS, key=lambda each: ranking.on_validation(student(each), AMONG_NEW))
    students = {"Student, vectors alone": student(0.0), "Student": student(likeness)}
    boosts = {name: _boost(score, ranking, settings.cold_start.loss) for name, score in students.items()}
    boosted = {name: ranking.boosted(score, boosts[name] or 0.0) for name, score in students.items()}
    neighbours = _neighbours(encodings, held.num_known, ranking)
    others: dict[str, Scorer] = {
        f"Texts like the newest {neighbours.newest}": neighbours.score,
        "Popularity": Popularity(held.whole.train_item_counts()).score,
    }
    found = ColdStart(
        likeness,
        boosts["Student"],
        ranking.compared(others | students, AMONG_NEW),
        ranking.compared(others | boosted, AMONG_ALL),
        ranking.compared(boosted, KNOWN, before=("Student, none recommended", students["Student"], KNOWN_ALONE)),
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
        target = whole.item_log[whole.offsets[examples.user] + examples.end].long()
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

    def compared(
        self, models: dict[str, Scorer], part: Part, before: tuple[str, Scorer, Part] | None = None
    ) -> Comparison:
        """Returns how models rank a part's test targets, the first being what the others are held against: the model
        that `before` names, which ranks the same targets among other items, if it is given.
        """
        ranked = [] if before is None else [(before[0], self.of(*before[1:], "test"))]
        ranked += [(name, self.of(score, part, "test")) for name, score in models.items()]
        by_name = [Model(name, [each.rank]) for name, each in ranked]
        return compare(by_name, ranked[0][1].user, 0, self.run.settings.compare)


def _neighbours(encodings: Tensor, num_known: int, ranking: _Ranking) -> TextNeighbours:
    """Returns those that rank validation's new items best among themselves."""
    centred = encodings - encodings[:num_known].mean(0)
    tried = [TextNeighbours(centred, newest) for newest in NEWEST]
    return max(tried, key=lambda each: ranking.on_validation(each.score, AMONG_NEW))


def _boost(score: Scorer, ranking: _Ranking, loss: float) -> float | None:
    """See `ColdStart.boost`."""
    alone = ranking.on_validation(score, KNOWN_ALONE)
    if alone == 0:
        return None  # nothing is lost by any
    least = (1 - loss) * alone
    for boost in reversed(BOOSTS):
        if ranking.on_validation(ranking.boosted(score, boost), KNOWN) >= least:
            return boost
    return None


def _report(run: Run, found: ColdStart) -> None:
    folder = run.dir / "metrics"
    folder.mkdir(exist_ok=True)
    compared = {name: asdict(each) for name, each in found._asdict().items() if isinstance(each, Comparison)}
    write_json(folder / "cold_start.json", {"likeness": found.likeness, "boost": found.boost, **compared})
    sections = [f"## {title}: {table.title}\n\n{table.markdown()}" for title, table in _tables(found)]
    write_text(folder / "cold_start.md", "\n".join([*sections, f"{_told(found)}\n\n{how_compared(found.known)}\n"]))


def _told(found: ColdStart) -> str:
    boost = "0 (none that was tried is within cold_start.loss)" if found.boost is None else f"{found.boost:g}"
    return f"Chosen on validation: serve.new_items_likeness={found.likeness:g}, serve.new_items_boost={boost}."


def _tables(found: ColdStart) -> list[tuple[str, TextTable]]:
    parts = ((AMONG_NEW, found.among_new), (AMONG_ALL, found.among_all), (KNOWN, found.known))
    return [(part.title, table) for part, comparison in parts for table in tables(comparison)]


def show(found: ColdStart | None) -> None:
    """Prints the tables; nothing after a dry run."""
    if found is None:
        return
    for title, table in _tables(found):
        replace(table, title=f"{title}: {table.title}").show()
    print(_told(found))
