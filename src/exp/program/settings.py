"""All settings of a run: those of every package, where things lie, and what a command is to do."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ...core.settings import (
    LARGEST_SEED,
    Address,
    Between,
    NamedIn,
    Names,
    Natural,
    Positive,
    PositiveInteger,
    Rule,
    Seed,
    Settings,
    ShareOrNone,
    UserPath,
    Words,
    YesNo,
    group,
    setting,
)
from ...data.conversion.settings import ConvertSettings
from ...data.export.settings import ExportSettings
from ...data.reduction.settings import ReduceSettings
from ...data.settings import DatasetSettings
from ...distill.choices import POLICIES
from ...distill.settings import ActiveSettings, DistillSettings
from ...evaluation.settings import CompareSettings, MetricsSettings
from ...report.settings import ReportSettings
from ...serve.settings import RecommendSettings, ServerSettings, ServeSettings
from ...student.settings import StudentSettings
from ...teacher.item_texts.settings import LEARNED_ARE_WHITENED, EncoderSettings
from ...teacher.settings import EnsembleSettings, ProbeSettings, TeacherSettings
from ...training.settings import TrainerSettings

Shares = Annotated[list[Between], Field(min_length=1), Words("a list of numbers above 0 and below 1")]
Policies = Annotated[Names, NamedIn(lambda names, key: [POLICIES.check(name, key) for name in names])]
Seeds = Annotated[list[Seed], Field(min_length=1), Words("a list of whole numbers from 0 to 4294967295")]


class PathSettings(Settings):
    """Where things lie. Relative paths mean the folder the command was started in."""

    root: UserPath = setting(..., "folder of data/", changes_result=False)
    raw_dirs: Annotated[list[UserPath | None], Words("a list of paths")] = setting(
        ..., "raw logs are looked up here, in this order", changes_result=False
    )
    processed_dir: UserPath = setting(..., "prepared datasets", changes_result=False)
    models_dir: UserPath = setting(..., "trained students and teachers", changes_result=False)
    teacher_outputs_dir: UserPath = setting(..., "what teachers exported", changes_result=False)
    evaluations_dir: UserPath = setting(..., "figures of models, and every user's rank", changes_result=False)
    served_dir: UserPath = setting(..., "served models", changes_result=False)
    updates_dir: UserPath = setting(..., "logs with a service's events in them", changes_result=False)
    language_models_dir: UserPath = setting(..., "language models' files", changes_result=False)
    prompts_dir: UserPath = setting(..., "prompt templates", changes_result=False)

    @property
    def data_dirs(self) -> list[Path]:
        """The folders of `raw_dirs`; null is one that the environment does not name."""
        return [path for path in self.raw_dirs if path]


class LoggingSettings(Settings):
    """What is told while a command runs."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "INFO", "what goes to the terminal and to run.log", changes_result=False
    )
    mlflow: YesNo = setting(False, "true: settings, figures, tables and report go to MLflow, too", changes_result=False)
    mlflow_uri: Address | None = setting(
        None,
        "MLflow's store; null: what MLFLOW_TRACKING_URI names (which may hold a password), else the run's mlruns/",
        changes_result=False,
    )


class InspectSettings(Settings):
    """`inspect_batches`."""

    examples: PositiveInteger = setting(5, "training examples (teacher.reading=user: histories) that are printed")


class CurveSettings(Settings):
    """`run_budget_curve`: what a share of the teacher's knowledge is worth."""

    shares: Shares = setting([0.05, 0.1, 0.2, 0.5], "of the train examples; none and all of them come with these")
    policies: Policies = setting(["random", "kl_divergence", "ground_truth_error", "meta"], "how a share is chosen")
    seeds: Seeds = setting(
        [0], "a student for each point and seed, which draws its examples, too; the teacher is one, of the run's seed"
    )


class ColdStartSettings(Settings):
    """`run_cold_start`: items that come after the training."""

    share: Between = setting(0.1, "of the items that have a text: held out of training, drawn from the run's seed")
    student: Literal["baseline", "distilled"] = setting(
        "baseline", "which student; a distilled one's teacher, too, is trained without them"
    )
    loss: ShareOrNone = setting(
        0.01, "share of known items' NDCG@10 on validation that new items may cost: what they are boosted by follows"
    )


class SearchSettings(Settings):
    """`run_search`: a search for a student's settings on validation."""

    trials: PositiveInteger = setting(40, "finished trainings after which it ends, those of earlier starts included")
    minutes: Positive = setting(60, "after which no further training begins")
    pruning_warmup: Natural = setting(5, "epochs that every training gets; later one below the median is cut")
    startup_trials: PositiveInteger = setting(8, "drawn at random, unpruned, before the sampler (TPE) takes over")
    storage: Address | None = setting(
        None,
        "a database that searches on several machines share, such as postgresql://user@host/name (its password in "
        "PGPASSWORD or ~/.pgpass); null: a file beside the models",
        changes_result=False,
    )
    space: dict[str, Any] | None = setting(
        None, "ranges that mirror the config, beside or in place of those of conf/search/space/<student.name>.yaml"
    )


ENSEMBLE = ("ensemble.members", "ensemble.likeness.member", "ensemble.language_model")  # whether there is one


class RunSettings(Settings):
    """The whole of a run."""

    rules = (
        Rule(
            ("distill.candidate_topk", "teacher.export.k"),
            lambda s: s.distill.candidate_topk > s.teacher.export.k,
            "distill.candidate_topk must not exceed teacher.export.k, what the teacher exports",
        ),
        Rule(
            (*ENSEMBLE, "teacher.objective"),
            lambda s: s.ensemble.is_one and s.ensemble.language_model and s.teacher.objective == "generation",
            "ensemble.language_model must be false where teacher.objective=generation: likelihoods of titles join no "
            "ensemble",
        ),
        Rule(
            (*ENSEMBLE, "active.policy"),
            lambda s: s.ensemble.is_one and not s.ensemble.language_model and s.active.policy != "all",
            "active.policy must be all where ensemble.language_model=false: students answer for nothing",
        ),
        Rule(
            (*ENSEMBLE, "teacher.name"),
            lambda s: s.ensemble.is_one and s.teacher.is_asked,
            "ensemble must be none where teacher.name=api, whose rankings have no probabilities of their own",
        ),
        Rule(
            ("distill.hint", "distill.teacher_outputs_path", "teacher.name"),
            lambda s: s.distill.hint > 0 and s.teacher.is_asked and s.distill.teacher_outputs_path is None,
            "distill.hint must be 0 where teacher.name=api: an endpoint gives no states of users",
        ),
        LEARNED_ARE_WHITENED,
    )
    seed: Seed = setting(
        0, "of everything: students, teacher, which examples are asked about; of the students alone: student.seed"
    )
    student_seeds: PositiveInteger = setting(
        3,
        "trainings of each student, with a teacher and without, in run_all, run_distill, run_student_baseline and "
        "run_eval_all; seeds count up from the student's",
        changes_result=False,  # each training's own key holds its seed
    )
    controls: YesNo = setting(
        False,
        "run_all and run_eval_all: also train what a gain is to be held against: the student that begins with the "
        "titles' encodings alone, and one that is distilled from the user encoder's own rankings",
        changes_result=False,  # they are stages of their own
    )
    rerun: YesNo = setting(False, "true: make the artefacts of this command again although they are there")
    dry_run: YesNo = setting(False, "true: print what is there, what would be made, and how long that took before")
    dataset: DatasetSettings = setting(..., "the log")
    student: StudentSettings = setting(..., "the small model")
    teacher: TeacherSettings = setting(..., "the language model")
    trainer: TrainerSettings = group(TrainerSettings)
    encoder: EncoderSettings = group(EncoderSettings)
    ensemble: EnsembleSettings = group(EnsembleSettings)
    distill: DistillSettings = group(DistillSettings)
    active: ActiveSettings = group(ActiveSettings)
    metrics: MetricsSettings = group(MetricsSettings)
    compare: CompareSettings = group(CompareSettings)
    probe: ProbeSettings = group(ProbeSettings)
    report: ReportSettings = group(ReportSettings)
    curve: CurveSettings = group(CurveSettings)
    cold_start: ColdStartSettings = group(ColdStartSettings)
    search: SearchSettings = group(SearchSettings)
    serve: ServeSettings = group(ServeSettings)
    recommend: RecommendSettings = group(RecommendSettings)
    server: ServerSettings = group(ServerSettings)
    inspect: InspectSettings = group(InspectSettings)
    export: ExportSettings = group(ExportSettings)
    convert: ConvertSettings = group(ConvertSettings)
    reduce: ReduceSettings = group(ReduceSettings)
    paths: PathSettings = setting(..., "where things lie")
    logging: LoggingSettings = group(LoggingSettings)

    @property
    def student_seed(self) -> int:
        """What the student's first training draws from, with a teacher or without."""
        return self.student.training_seed(self.seed)

    @property
    def all_student_seeds(self) -> list[int]:
        """The seeds of the student's trainings; after the largest there is comes 0."""
        return [(self.student_seed + place) % (LARGEST_SEED + 1) for place in range(self.student_seeds)]
