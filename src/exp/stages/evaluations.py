"""A model → its figures and every user's rank on the test split; several → their differences."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...core.artefact import COMPARISON, EVALUATION, fingerprint, read_manifest, write_json, writing
from ...evaluation.comparison import comparison_of, write_comparison
from ...evaluation.model_tables import EvaluatedModel
from ...evaluation.settings import check_compared, check_metrics
from ..program.run import Run
from .base import Prepared, Stage
from .distilled import Distilled
from .students import TrainedStudent
from .teacher.calibration import Calibration
from .teacher.ensemble import Ensemble
from .teacher.teacher import Teacher
from .training import Training

if TYPE_CHECKING:
    from torch import nn

    from ...evaluation.comparison import Comparison as Found
    from ...evaluation.ranking import Evaluation as Ranked

SPLIT = "test"
CONTROLS = ("titles", "self_distilled")
STEPS = ("baseline", *CONTROLS, "distilled")  # what a gain is made of
METRICS, LISTS = "metrics.json", "lists.safetensors"


class Evaluation(Stage):
    """`data/evaluations/<dataset>/<subject>-<key>/`: figures, slices and every user's rank in `metrics.json`, what each
    user was recommended in `lists.safetensors` (`Lists`).
    """

    what = "evaluation"
    kind = EVALUATION
    command = "run_eval_all"
    subject: ClassVar[str]  # which model
    trained: ClassVar[str]  # what its seed is of, where there is a stage that trained it

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"evaluation: {self.subject}"

    @property
    def file(self) -> str:
        """Its name in a run's `metrics/`."""
        return f"{self.subject}.json"

    @property
    @abstractmethod
    def model_name(self) -> str:
        """The model as tables call it."""

    @abstractmethod
    def rank(self) -> "tuple[Ranked, int]":
        """Ranks the test targets; returns that, and the model's number of parameters."""

    def own_folder(self) -> Path:
        # plain: with the bounds of memory, which change no rank, but the time that is told beside it
        metrics = self.settings.metrics.plain()
        return self.keyed(self.settings.paths.evaluations_dir, f"{self.subject}-", metrics, SPLIT, *self.also_counts())

    def also_counts(self) -> Sequence[Any]:
        """Returns what else the figures, or the time that they took, depend on."""
        return ()

    def how(self) -> dict[str, Any]:
        """Returns what the manifest says of this machine's way to score, where it has a choice."""
        return {}

    def check(self) -> None:
        counts = self.prepared.counts
        check_metrics(self.settings.metrics, self.settings.compare, counts["items"])

    def make(self) -> None:
        from safetensors.torch import save_file

        from ...evaluation.slices import slice_metrics, slicings

        dataset, metrics = self.prepared.dataset, self.settings.metrics
        ranked, parameters = self.rank()
        slices = {
            by: slice_metrics(ranked.rank, slicing, metrics.slice_k)
            for by, slicing in slicings(dataset, SPLIT, metrics.history_buckets).items()
        }
        about = {
            "model": self.model_name,
            "subject": self.subject,
            "training": self.training(),
            "parameters": parameters,
            "dataset": dataset.name,
            "dataset_fingerprint": dataset.fingerprint,
            "num_items": dataset.num_items,
            "split": SPLIT,
            "filter_seen": metrics.filter_seen,
        }
        with writing(self.folder, self.kind, {**self.about({}), **self.how()}) as temporary:
            write_json(temporary / METRICS, {**about, "slices": slices, **ranked.to_json()})
            save_file(ranked.lists.tensors(), temporary / LISTS)

    @property
    def training_stage(self) -> Stage | None:
        """Which stage trained the model; None where nothing was trained."""
        return None

    def training(self) -> dict[str, Any] | None:
        """Returns of what the model's seed is, that seed, a digest of its settings and those of the artefacts that it
        was made from; None where nothing was trained. Models that differ in seed and artefacts alone are trainings of
        one.
        """
        if self.training_stage is None:
            return None
        made = read_manifest(self.training_stage.folder)
        sources = {title.partition(":")[0]: contents for title, contents in made["inputs"].items()}
        settings = fingerprint(self.all_counted())
        return {"of": self.trained, "seed": made["seed"], "settings": settings, "from": sources}

    @cached_property
    def figures(self) -> dict[str, Any]:
        """All that was written."""
        return self.read(METRICS)

    def row(self) -> EvaluatedModel:
        """Returns the model's figures as tables show them."""
        found = self.figures
        return EvaluatedModel(
            found["model"], found["metrics"], found["slices"], found["parameters"], found["ms_per_1000_users"]
        )


class PopularityEvaluation(Evaluation):
    """The floor of every comparison."""

    subject = "popularity"
    model_name = "Popularity"

    def rank(self) -> "tuple[Ranked, int]":
        from ...core.precision import best_device
        from ...evaluation.popularity import Popularity
        from ...evaluation.ranking import evaluate

        dataset = self.prepared.dataset
        ranked = evaluate(
            Popularity(dataset.train_item_counts()).score,
            dataset,
            SPLIT,
            self.settings.metrics,
            history_length=1,
            device=best_device(),
            title=f"{self.model_name}: {SPLIT} users",
        )
        return ranked, dataset.num_items


class StudentEvaluation(Evaluation):
    """A student, with a teacher or without.

    Args:
        run, prepared: See `Stage`.
        student: Which training of it.
        subject, role: The name of its file in a run, and what tables call it.
    """

    trained = "student"

    def __init__(
        self, run: Run, prepared: Prepared, student: TrainedStudent | Distilled, subject: str, role: str
    ) -> None:
        super().__init__(run, prepared)
        self.student, self.subject, self.role = student, subject, role  # type: ignore[misc]

    @property
    def label(self) -> str:
        return f"{self.title}, seed {self.student.seed}" if self.student.is_one_of_several else self.title

    @property
    def file(self) -> str:
        several = f"_seed_{self.student.seed}" if self.student.is_one_of_several else ""
        return f"{self.subject}{several}.json"

    def inputs(self) -> Sequence[Stage]:
        return (self.student,)

    @property
    def training_stage(self) -> Training:
        return self.student

    @property
    def model_name(self) -> str:
        return f"{self.role} ({self.settings.student.name})"

    def rank(self) -> "tuple[Ranked, int]":
        from ...student.evaluator import evaluate_student

        model, title = self.student.load(), f"{self.model_name}: {SPLIT} users"
        ranked = evaluate_student(model, self.prepared.dataset, SPLIT, self.settings.metrics, title)
        return ranked, parameters_of(model)


class TeacherEvaluation(Evaluation):
    """The teacher itself."""

    subject = trained = "teacher"

    def __init__(self, run: Run, prepared: Prepared, teacher: Teacher | Calibration) -> None:
        super().__init__(run, prepared)
        self.teacher = teacher

    def inputs(self) -> Sequence[Stage]:
        return (self.teacher,)

    def also_counts(self) -> Sequence[Any]:
        return (self.settings.teacher.eval_tokens,)

    @property
    def training_stage(self) -> Training:
        return self.teacher.teacher if isinstance(self.teacher, Calibration) else self.teacher

    def how(self) -> dict[str, Any]:
        from ...core.precision import teacher_precision

        return {"precision": teacher_precision(self.settings.teacher.train.precision)}

    @property
    def model_name(self) -> str:
        return f"Teacher ({self.settings.teacher.name}, {self.settings.teacher.llm.name})"

    def rank(self) -> "tuple[Ranked, int]":
        from ...core.precision import autocast, best_device, resolve_precision
        from ...evaluation.ranking import rows_at_once
        from ...teacher.gated_model import gates_of_users

        dataset, metrics = self.prepared.dataset, self.settings.metrics
        model = self.teacher.load().to(best_device())
        ranked = ranked_by(model, self)
        with autocast(resolve_precision(self.settings.teacher.train.precision), best_device()):
            gates = gates_of_users(model, dataset, SPLIT, rows_at_once(metrics, dataset, with_seen=False))
        return replace(ranked, lists=replace(ranked.lists, gates=gates)), parameters_of(model)


class EnsembleEvaluation(Evaluation):
    """Frozen students, and maybe the teacher's language model, ranking together."""

    subject = trained = "ensemble"

    def __init__(self, run: Run, prepared: Prepared, ensemble: Ensemble) -> None:
        super().__init__(run, prepared)
        self.ensemble = ensemble

    def inputs(self) -> Sequence[Stage]:
        return (self.ensemble,)

    def also_counts(self) -> Sequence[Any]:
        return (self.settings.teacher.eval_tokens,)

    @property
    def training_stage(self) -> Stage:
        return self.ensemble

    @property
    def model_name(self) -> str:
        more = {"likeness": self.ensemble.likeness, "language model": self.ensemble.teacher}
        there = [name for name, stage in more.items() if stage is not None]
        return f"Ensemble ({', '.join([*self.ensemble.members, *there])})"

    def rank(self) -> "tuple[Ranked, int]":
        from ...core.precision import best_device

        model = self.ensemble.load().to(best_device())
        return ranked_by(model, self), parameters_of(model)


class Comparison(Stage):
    """`data/evaluations/<dataset>/comparison-<key>/`: differences to the first model, with intervals and tests.

    Args:
        run, prepared: See `Stage`.
        evaluations: Of the models, each with all of its trainings; the first is what the others are compared with.
    """

    title = "comparison"
    what = "comparison"
    kind = COMPARISON
    command = "run_eval_all"

    def __init__(self, run: Run, prepared: Prepared, evaluations: Sequence[Sequence[Evaluation]]) -> None:
        super().__init__(run, prepared)
        self.evaluations = evaluations

    def inputs(self) -> Sequence[Stage]:
        return every(self.evaluations)

    def inputs_by_name(self) -> dict[str, Stage]:
        """By their keys: trainings of one model have the same title."""
        return {each.folder.name: each for each in self.inputs()}

    def check(self) -> None:
        check_compared(self.settings.compare, self.prepared.counts["items"])

    def own_folder(self) -> Path:
        compare = self.settings.compare
        how = [compare.metrics, compare.confidence, compare.resamples, compare.seed]
        trainings = [len(each) for each in self.evaluations]
        return self.keyed(self.settings.paths.evaluations_dir, "comparison-", how, trainings, "clustered by user")

    def make(self) -> None:
        import torch

        from ...evaluation.metrics_files import Training as Trained
        from ...evaluation.metrics_files import what_varied
        from ...evaluation.significance import Model, compare

        models = []
        for trainings in self.evaluations:
            ranks = [torch.tensor(each.figures["rank"]) for each in trainings]
            several = [Trained(**each.figures["training"]) for each in trainings if len(trainings) > 1]
            models.append(Model(trainings[0].figures["model"], ranks, what_varied(several) if several else None))
        user = torch.tensor(self.evaluations[0][0].figures["user"])
        controls = [place for subject, place in self._places().items() if subject in CONTROLS]
        found = compare(models, user, 0, self.settings.compare, self._steps(), controls)
        with writing(self.folder, self.kind, self.about({})) as temporary:
            write_comparison(found, temporary)

    def _places(self) -> dict[str, int]:
        return {trainings[0].subject: place for place, trainings in enumerate(self.evaluations)}

    def _steps(self) -> list[tuple[int, int]]:
        """Returns the places of the models that a gain goes by, pairwise; none where there are no controls."""
        place = self._places()
        through = [place[subject] for subject in STEPS if subject in place]
        return list(pairwise(through)) if len(through) > 2 else []

    def load(self) -> "Found":
        """Returns what was found."""
        return comparison_of(self.read("comparison.json"))


def every(models: Sequence[Sequence[Evaluation]]) -> list[Evaluation]:
    """Returns the evaluations of all trainings of all models."""
    return list(chain.from_iterable(models))


def parameters_of(model: "nn.Module") -> int:
    """Returns how many numbers a model has learned, or was given."""
    return sum(parameter.numel() for parameter in model.parameters())


def ranked_by(model: Any, evaluation: Evaluation) -> "Ranked":
    """Returns how a teacher, or what ranks as one, ranks the test targets, in the teacher's precision."""
    from ...core.precision import autocast, best_device, resolve_precision
    from ...evaluation.ranking import evaluate

    settings = evaluation.settings
    with autocast(resolve_precision(settings.teacher.train.precision), best_device()):
        return evaluate(
            model.score,
            evaluation.prepared.dataset,
            SPLIT,
            settings.metrics,
            history_length=model.history_length,
            device=best_device(),
            title=f"{evaluation.model_name}: {SPLIT} users",
        )
