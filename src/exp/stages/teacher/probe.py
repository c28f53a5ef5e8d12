"""Trained teacher → what its language model lives on: its ranking with one thing after the other taken away."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.artefact import PROBE, write_json, writing
from ....core.errors import UserError
from ....evaluation.probed import METRIC, ProbeResult, probe_result_of
from ....report.names import PROBE as FILE
from .teacher import OfTeacher

if TYPE_CHECKING:
    from ....teacher.probe import Probed


class Probe(OfTeacher):
    """`data/evaluations/<dataset>/probe-<key>/probe.json`: NDCG@10 and cross-entropy on validation, of the language
    model without the user encoder's ranking, as it is and under each of `teacher.probe.alterations`.
    """

    title = "teacher: probe"
    what = "teacher's probe"
    kind = PROBE
    command = "run_probe"

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.evaluations_dir, "probe-", *self.counted, self.settings.seed)

    @property
    def counted(self) -> list[Any]:
        compare = self.settings.compare
        how = [compare.confidence, compare.resamples, compare.seed]
        read = self.settings.teacher.eval_tokens  # histories that are read at once come in an order of their own
        return [self.settings.probe.max_examples, self.settings.metrics.filter_seen, read, how]

    def check_settings(self) -> None:
        """Makes sure that the teacher can be altered."""
        if self.settings.teacher.objective != "ranking":
            raise UserError(
                "A probe alters teachers that rank the catalogue: set teacher.objective=ranking, or another teacher."
            )

    def make(self) -> None:
        from ....core.precision import teacher_precision
        from ....evaluation.significance import Model, compare_models
        from ....teacher.ilora_model import ILoRAModel

        model, compare = self.teacher.load(), self.settings.compare
        if not isinstance(model, ILoRAModel):
            raise UserError(
                f"The teacher {self.teacher.folder.name} is none of teacher.name=ilora, which alone a probe can alter."
            )
        found, user = self._probed(model)
        models = [Model(each.name, [each.rank]) for each in found]
        compared = compare_models(
            models,
            user,
            baseline=0,
            metrics=[METRIC],
            confidence=compare.confidence,
            resamples=compare.resamples,
            seed=compare.seed,
        )
        entropies = {each.name: each.cross_entropy for each in found}
        told = {"examples": len(user), "cross_entropy": entropies, "comparison": asdict(compared)}
        precision = teacher_precision(self.settings.teacher.train.precision)
        with writing(self.folder, self.kind, {**self.about(told), "precision": precision}) as temporary:
            write_json(temporary / FILE, told)

    def _probed(self, model: Any) -> "tuple[list[Probed], Any]":
        from ....core.precision import autocast, best_device, resolve_precision
        from ....core.progress import progress
        from ....core.seed import generator
        from ....data.batches import loader_in_order
        from ....evaluation.ranking import rows_at_once
        from ....teacher.probe import alterations, probe

        dataset, metrics, seed = self.prepared.dataset, self.settings.metrics, self.settings.seed
        val = dataset.examples["val"].sample(self.settings.probe.max_examples, generator(seed))
        rows = model.validation_rows(dataset, val, with_seen=metrics.filter_seen)
        device, names = best_device(), alterations(model)
        model.to(device)
        in_order = loader_in_order(rows, rows_at_once(metrics, dataset, metrics.filter_seen))
        batches = [batch.to(device) for batch in in_order]
        with (
            progress("teacher: probe", len(names) * len(val)) as advance,
            autocast(resolve_precision(self.settings.teacher.train.precision), device),
        ):
            found = [probe(model, batches, name, generator(seed), advance) for name in names]
        return found, val.user

    def result(self) -> ProbeResult:
        """Returns what was found."""
        return probe_result_of(self.read(FILE))
