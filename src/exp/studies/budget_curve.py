"""What it is worth to ask a teacher about a share of the examples only, and which ones."""

import logging
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from matplotlib import pyplot as plt
from torch import Tensor

from ...core.artefact import STUDENT, fingerprint, making, read_json, read_manifest, unfinished, write_json, write_text
from ...core.errors import UserError
from ...core.seed import generator, seed_everything
from ...core.settings_reading import changed
from ...data.dataset import Dataset
from ...distill.data_bridge import TeacherOutputs
from ...distill.distilled_student import distil_module
from ...distill.selection_policy import Pool, create_selection_policy
from ...distill.settings import ActiveSettings
from ...evaluation.tables import TextTable
from ...student.evaluator import evaluate_student
from ...student.trainer_baseline import baseline_module, fit_student
from ..program.run import Run
from ..stages.road import Road

NONE, ALL = "none", "all"
METRIC = "NDCG@10"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """One student: what its teacher was asked, what that cost, and how well the student ranks.

    policy: "none" where the teacher was not asked about any example, "all" where about every one.
    share: Of the train examples; None for the student without any teacher.
    seed: Of the student, and of the draw of its examples; the teacher is the same for all.
    examples: How many.
    tokens: Those that the teacher reads for them.
    seconds: What that takes at the speed of the whole export.
    val, test: NDCG@10.
    """

    policy: str
    share: float | None
    seed: int
    examples: int
    tokens: int
    seconds: float
    val: float
    test: float


def draw_budget_curve(road: Road) -> list[Point]:
    """Asks the teacher about everything once, then trains students that are shown a share; returns the points.

    What a share would have cost is counted from the prompts of its examples. Points are kept beside the models as soon
    as they are there: an interrupted curve goes on. Writes `metrics/budget.{json,md,svg,png}`.
    """
    run = road.run
    if road.ensemble is not None:
        raise UserError("The curve is of what a teacher is asked, not of an ensemble: set ensemble=none.")
    if run.settings.trainer.devices > 1:
        raise UserError("The curve trains each student in one process: set trainer.devices=1 (run_teacher takes more).")
    road = Road(replace(run, settings=changed(run.settings, {"active.policy": "all", "active.share": 1.0})))
    teacher_stages = (road.user_encoder, road.teacher, road.ranking_teacher, road.outputs)
    road.distilled.check_settings()
    if not road.go(road.prepared, road.baseline, *teacher_stages):
        return []
    dataset, folder, outputs = road.prepared.dataset, road.outputs.folder, road.outputs.load()
    teacher, manifest = road.teacher.load(), read_manifest(folder)
    pool = Pool(dataset, teacher.user_encoder, teacher.read_together(dataset), run.settings.seed)
    tokens = teacher.tokens_by_example(dataset)
    points: list[Point] = []
    name = run.settings.student.name.replace(":", ".")
    kept = run.settings.paths.models_dir / dataset.name / f"budget-{name}-{_key(road)}"
    kept.mkdir(parents=True, exist_ok=True)
    for policy, share, seed in _plan(run):
        path = kept / f"{policy}-{share}-{seed}.json"
        with making(path):  # two curves at once share their points
            if run.settings.rerun:
                shutil.rmtree(unfinished(path), ignore_errors=True)  # the program may have changed since
            if run.settings.rerun or not path.is_file():
                asked = _asked(pool, policy, share, seed)
                cost = float(tokens[asked - pool.example_id[0]].sum())
                seconds = round(cost * manifest["seconds"] / manifest["tokens_read"], 1)
                with run.stopwatch.stage(f"distilled: {policy}, {share}, seed {seed}"):
                    shown = None if share is None else outputs.only(asked)
                    val, test = _student(run, dataset, shown, road.baseline.begins_with(), seed, unfinished(path))
                write_json(path, asdict(Point(policy, share, seed, len(asked), round(cost), seconds, val, test)))
        points.append(Point(**read_json(path)))
        log.info("%s, share %s, seed %d: test %s %.4f", policy, share, seed, METRIC, points[-1].test)
        _report(run, dataset, points)
    return points


def _key(road: Road) -> str:
    settings = road.run.settings
    student = [STUDENT.format, settings.student.key(), settings.distill.key(), settings.metrics.filter_seen]
    pool = [road.teacher.identity, road.teacher.content_digest, settings.seed]  # what is asked, and what that costs
    return fingerprint("budget", road.prepared.fingerprint, *student, *pool, road.outputs.content_digest)


def _plan(run: Run) -> Iterator[tuple[str, float | None, int]]:
    curve = run.settings.curve
    for seed in curve.seeds:
        yield NONE, None, seed
        yield NONE, 0.0, seed
        yield ALL, 1.0, seed
        for policy in curve.policies:
            yield from ((policy, share, seed) for share in curve.shares)


def _asked(pool: Pool, policy: str, share: float | None, seed: int) -> Tensor:
    if policy == NONE:
        return pool.example_id[:0]
    return create_selection_policy(ActiveSettings(policy=policy, share=share)).select(pool, generator(seed))


def _student(
    run: Run, dataset: Dataset, outputs: TeacherOutputs | None, encodings: Tensor | None, seed: int, kept_in: Path
) -> tuple[float, float]:
    """Trains a student, with a teacher or without; returns its NDCG@10 on validation and test."""
    settings = run.settings
    seed_everything(seed)
    module = (
        baseline_module(settings.student, dataset, encodings)
        if outputs is None
        else distil_module(settings.student, settings.distill, dataset, outputs, seed)
    )
    result = fit_student(
        module,
        settings.student,
        dataset,
        settings.metrics,
        seed,
        stage="student",
        run_dir=run.dir,
        kept_in=kept_in,
        loggers=run.loggers(kept_in.name.partition(".")[0]),
        made_from={"point": f"{kept_in.parent.name}/{kept_in.name}"},
    )
    module.model.items.fold()
    shutil.rmtree(kept_in)
    metrics = settings.metrics.model_copy(update={"ks": [10]})
    ranked = evaluate_student(module.model.eval(), dataset, "test", metrics, "student: test users")
    return result["best_val_ndcg@10"], ranked.metrics[METRIC]


def _report(run: Run, dataset: Dataset, points: list[Point]) -> None:
    folder = run.dir / "metrics"
    folder.mkdir(exist_ok=True)
    write_json(folder / "budget.json", [asdict(point) for point in points])
    write_text(folder / "budget.md", _table(points).markdown())
    _draw(dataset, points, folder)


def _mean(points: list[Point], policy: str, share: float | None) -> tuple[float, list[Point]]:
    these = [point for point in points if (point.policy, point.share) == (policy, share)]
    return statistics.fmean(point.test for point in these), these


def _table(points: list[Point]) -> TextTable:
    """Returns a line for each policy and share, means over seeds.

    The gain, where there is one, is that of all examples over the student without a teacher.
    """
    without = _mean(points, NONE, None)[0]
    whole = [point for point in points if point.policy == ALL]
    most = _mean(points, ALL, 1.0)[0] - without if whole else None
    rows = []
    for policy, share in dict.fromkeys((point.policy, point.share) for point in points):
        mean, these = _mean(points, policy, share)
        kept = f"{(mean - without) / most:.0%}" if most and most > 0 and share is not None else ""
        name = {(NONE, None): "no teacher", (NONE, 0.0): "its item embeddings alone"}.get((policy, share), policy)
        rows.append([
            name, "" if not share else f"{share:.0%}", f"{statistics.fmean(point.tokens for point in these):,.0f}",
            f"{statistics.fmean(point.seconds for point in these):,.0f}", f"{mean:.4f}", kept, str(len(these)),
        ])  # fmt: skip
    header = ["asked", "share", "tokens", "seconds", f"test {METRIC}", "of the gain", "student seeds"]
    return TextTable("What asking the teacher is worth, one teacher", header, rows)


def _draw(dataset: Dataset, points: list[Point], folder: Path) -> None:
    """Draws a line for each policy, from the teacher's item embeddings alone (0) to all that it knows (1)."""
    plt.rcParams["svg.hashsalt"] = "budget"  # the same points give the same file
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    by_policy: dict[str, dict[float, float]] = {}
    ends: dict[float, float] = {}
    for policy, share in dict.fromkeys((point.policy, point.share) for point in points):
        if share is not None:
            line = ends if policy in (NONE, ALL) else by_policy.setdefault(policy, {})
            line[share] = _mean(points, policy, share)[0]
    for policy, line in by_policy.items():
        shares, values = zip(*sorted({**ends, **line}.items()), strict=True)
        axes.plot([100 * share for share in shares], values, lw=1.2, marker="o", ms=4, label=policy.replace("_", " "))
    axes.axhline(_mean(points, NONE, None)[0], color="0.5", lw=1, ls="--", label="no teacher")
    axes.set_xlabel("share of the training examples that the teacher was asked about, %")
    axes.set_ylabel(f"test {METRIC}")
    axes.set_title(f"{dataset.name}: what asking the teacher is worth", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(folder / "budget.svg", metadata={"Date": None})
    figure.savefig(folder / "budget.png", dpi=120)
    plt.close(figure)


def show(points: list[Point]) -> None:
    """Prints the table; nothing after a dry run."""
    if points:
        _table(points).show()
