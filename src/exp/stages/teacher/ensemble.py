"""Frozen students, maybe the trained teacher → how much each has to say: what teaches as one."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ....core.artefact import ENSEMBLE, write_json, writing
from ....core.errors import UserError
from ...program.run import Run
from ..base import Prepared, Stage
from ..students import TrainedStudent
from .encodings import Encodings
from .teacher import Teacher

if TYPE_CHECKING:
    from ....teacher.ensemble.opinion_pool import OpinionPool, PoolFit, Worth
    from ....teacher.item_texts.likeness import TextLikeness

FILE = "ensemble.json"

log = logging.getLogger(__name__)


class Ensemble(Stage):
    """`data/models/<dataset>/ensemble-<key>/ensemble.json`: the members' weights, and what each is worth.

    Args:
        run, prepared: See `Stage`.
        members: Frozen students by name, at least one.
        encodings: What is exported as item embeddings where there is no teacher; None: nothing but rankings is asked.
        teacher: Whose language model is a member; None: nobody reads.
        likeness: Encodings whose likeness is a member; None: it is none.
    """

    title = "ensemble"
    what = "ensemble"
    kind = ENSEMBLE
    command = "run_teacher"
    elsewhere = "the settings of ensemble and teacher back"

    def __init__(
        self,
        run: Run,
        prepared: Prepared,
        members: Mapping[str, TrainedStudent],
        encodings: Encodings | None = None,
        teacher: Teacher | None = None,
        likeness: Encodings | None = None,
    ) -> None:
        super().__init__(run, prepared)
        self.members, self.encodings, self.teacher, self.likeness = members, encodings, teacher, likeness

    @property
    def label(self) -> str:
        return self.title if self.teacher or self.encodings else f"{self.title} of students alone"

    def inputs(self) -> Sequence[Stage]:
        more = [each for each in (self.encodings, self.teacher, self.likeness) if each is not None]
        return tuple(dict.fromkeys([*self.members.values(), *more]))

    def implied(self) -> Sequence[Stage]:
        return self.inputs()

    def own_folder(self) -> Path:
        folder = self.settings.paths.models_dir
        return self.keyed(folder, "ensemble-", [*self.members], *self.counted, self.settings.seed)

    @property
    def counted(self) -> list[Any]:
        ensemble = self.settings.ensemble
        more: list[Any] = [] if self.likeness is None else [ensemble.likeness.key()]
        if ensemble.among != "catalogue":
            more.append(ensemble.among)
        return [ensemble.max_examples, self.settings.metrics.filter_seen, *more]

    def check_settings(self) -> None:
        """Makes sure that there is something to export."""
        teacher = self.settings.teacher
        if self.teacher is None and self.encodings is not None and teacher.export.item_embeddings != "text":
            raise UserError(
                "teacher.export.item_embeddings=ranking asks for what a language model ranks by, and this ensemble has "
                "none: set it to text, or ensemble.language_model to true."
            )

    def make(self) -> None:
        from ....core.precision import teacher_precision
        from ....teacher.ensemble.opinion_pool import LEAST

        found, with_others = self._fitted()
        for name, of in found.alone.items():
            without = found.without.get(name)
            log.info(
                "%s: weight %.3f; alone: validation NDCG@10 %.4f, cross-entropy %.3f%s",
                name,
                found.whole.weights[name],
                of.ndcg,
                of.cross_entropy,
                f"; the others without it: {without.ndcg:.4f}, {without.cross_entropy:.3f}" if without else "",
            )
        log.info("together: validation NDCG@10 %.4f, cross-entropy %.3f", found.whole.ndcg, found.whole.cross_entropy)
        if max(found.whole.weights.values()) <= LEAST:
            log.warning(
                "No member ranks validation better than chance: what %s teaches says next to nothing", self.label
            )
        result = asdict(found)
        if with_others is not None:
            log.info(
                "with other items' texts in the likeness: validation NDCG@10 %.4f (%+.1f %%), cross-entropy %.3f",
                with_others.ndcg,
                100 * (with_others.ndcg / found.whole.ndcg - 1) if found.whole.ndcg else 0.0,
                with_others.cross_entropy,
            )
            result["with_other_texts"] = with_others._asdict()
        about = self.about(result)
        if self.teacher is not None:
            about["precision"] = teacher_precision(self.settings.teacher.train.precision)
        with writing(self.folder, self.kind, about) as temporary:
            write_json(temporary / FILE, result)

    def load(self) -> "OpinionPool":
        """Returns what teaches, with its weights.

        Raises:
            UserError: It has not been made, or a member has not, or is another one.
        """
        import torch

        weights = self.read(FILE)["whole"]["weights"]
        pool = self._pool()
        pool.weights.copy_(torch.tensor([weights[name] for name in pool.names]))
        return pool

    def _pool(self) -> "OpinionPool":
        import torch

        from ....teacher.ensemble.opinion_pool import OpinionPool
        from ....teacher.item_texts.likeness import LIKENESS, TextLikeness

        students = {name: stage.load() for name, stage in self.members.items()}
        if self.likeness is not None:
            how = self.settings.ensemble.likeness
            students[LIKENESS] = TextLikeness(self.likeness.load(), how.decay, how.whitening)
        reader = None if self.teacher is None else self.teacher.load()
        if reader is not None:
            text = self.settings.teacher.export.item_embeddings == "text"
            embeddings = (reader.text_embeddings() if text else reader.item_embeddings()).detach()
        elif self.encodings is not None:
            embeddings = self.encodings.load()
        else:
            embeddings = torch.zeros(self.prepared.dataset.num_items, 1)
        return OpinionPool(students, reader, embeddings, self.settings.teacher.eval_tokens).eval()

    def _fitted(self) -> "tuple[PoolFit, Worth | None]":
        """Returns the fit, and what the pool is worth where the likeness takes each text for another item's: how much
        of it comes from what the texts say.
        """
        import torch

        from ....core.precision import autocast, best_device, resolve_precision
        from ....core.seed import generator
        from ....data.batches import loader_in_order
        from ....data.rows import ExampleRows
        from ....evaluation.ranking import rows_at_once
        from ....teacher.ensemble.opinion_pool import fit, most_examples, worth
        from ....teacher.item_texts.likeness import LIKENESS

        dataset, metrics, most = self.prepared.dataset, self.settings.metrics, self.settings.ensemble.max_examples
        device, pool = best_device(), self._pool().to(best_device())
        fits = most_examples(len(pool.names), dataset.num_items)
        if fits < min(most, len(dataset.examples["val"])):
            log.info("Weights are fitted on %d validation examples: scores of more would take too much memory", fits)
        val = dataset.examples["val"].sample(min(most, fits), generator(self.settings.seed))
        rows = ExampleRows(dataset, val, pool.history_length, metrics.filter_seen)
        batches = loader_in_order(rows, rows_at_once(metrics, dataset, metrics.filter_seen))
        with autocast(resolve_precision(self.settings.teacher.train.precision), device):
            found = fit(pool, batches, device, self.settings.ensemble.among)
            if self.likeness is None:
                return found, None
            pool.weights.copy_(torch.tensor([found.whole.weights[name] for name in pool.names]))
            likeness = cast("TextLikeness", pool.students[pool.names.index(LIKENESS)])
            likeness.shuffle(generator(self.settings.seed))
            return found, worth(pool, batches, device)
