"""What it is worth to ask a teacher about a share of the examples only, and which ones."""

import json
import logging
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from matplotlib import pyplot as plt
from omegaconf import OmegaConf
from torch import Tensor

from ..core.artefact import fingerprint, read_manifest, sha256_of, write_json, write_text
from ..core.dataset import Dataset
from ..core.logging import Stopwatch
from ..core.precision import best_device
from ..core.seed import generator, seed_everything
from ..distill.data_bridge import TeacherOutputs, load_teacher_outputs
from ..distill.selection_policy import Pool, create_selection_policy
from ..student.evaluator import evaluate
from ..student.models import SequentialRecommender
from .run import Run
from .stages import (
    baseline_module,
    distil_module,
    eval_rows,
    export,
    fit_student,
    load_teacher,
    train_baseline,
    train_teacher,
)
from .tables import TextTable

NONE, ALL = "none", "all"
METRIC = "NDCG@10"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """One student: what its teacher was asked, what that cost, and how well the student ranks.

    policy: "none" where the teacher was not asked about any example, "all" where about every one.
    share: Of the train examples; None for the student without any teacher.
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


def draw_budget_curve(run: Run, dataset: Dataset) -> list[Point]:
    """Asks the teacher about everything once, then trains students that are shown a share; returns the points.

    What a share would have cost is counted from the prompts of its examples. Points are kept beside the models as soon
    as they are there: an interrupted curve goes on. Writes `metrics/budget.{json,md,svg,png}`.
    """
    whole = Run(OmegaConf.merge(run.cfg, {"active": {"policy": "all", "share": 1.0}}), run.dir, run.stopwatch)
    train_baseline(whole, dataset)
    train_teacher(whole, dataset)
    folder = export(whole, dataset)
    outputs = load_teacher_outputs(folder, dataset, run.cfg.distill.score_direction)
    teacher = load_teacher(whole, dataset)
    manifest = read_manifest(folder)
    pool = Pool(dataset, teacher.user_encoder, teacher.read_together(dataset), run.cfg.seed)
    tokens = teacher.tokens_by_example(dataset)
    points: list[Point] = []
    kept = run.path("models_dir") / dataset.name / f"budget-{run.cfg.student.name}-{_key(run, dataset, folder)}"
    kept.mkdir(parents=True, exist_ok=True)
    for policy, share, seed in _plan(run):
        path = kept / f"{policy}-{share}-{seed}.json"
        if not path.is_file():
            asked = _asked(pool, policy, share, seed)
            cost = float(tokens[asked - pool.example_id[0]].sum())
            seconds = round(cost * manifest["seconds"] / manifest["tokens_read"], 1)
            with run.stopwatch.stage(f"distilled: {policy}, {share}, seed {seed}"):
                val, test = _student(run, dataset, None if share is None else outputs.only(asked), seed)
            write_json(path, asdict(Point(policy, share, seed, len(asked), round(cost), seconds, val, test)))
        points.append(Point(**json.loads(path.read_text(encoding="utf-8"))))
        log.info("%s, share %s, seed %d: test %s %.4f", policy, share, seed, METRIC, points[-1].test)
        _report(run, dataset, points)
    return points


def _key(run: Run, dataset: Dataset, outputs: Path) -> str:
    parts = [run.settings("student"), run.settings("distill"), run.settings("metrics")["filter_seen"]]
    return fingerprint("budget", dataset.fingerprint, *parts, sha256_of(outputs / "rankings.safetensors"))


def _plan(run: Run) -> Iterator[tuple[str, float | None, int]]:
    curve = run.settings("curve")
    for seed in curve["seeds"]:
        yield NONE, None, seed
        yield NONE, 0.0, seed
        yield ALL, 1.0, seed
        for policy in curve["policies"]:
            yield from ((policy, share, seed) for share in curve["shares"])


def _asked(pool: Pool, policy: str, share: float | None, seed: int) -> Tensor:
    if policy == NONE:
        return pool.example_id[:0]
    return create_selection_policy(policy, share).select(pool, generator(seed))


def _student(run: Run, dataset: Dataset, outputs: TeacherOutputs | None, seed: int) -> tuple[float, float]:
    """Trains a student, with a teacher or without; returns its NDCG@10 on validation and test."""
    cfg, folder = OmegaConf.merge(run.cfg, {"seed": seed}), run.dir / "student"
    folder.mkdir(parents=True, exist_ok=True)
    here = Run(cfg, folder, Stopwatch(folder))
    seed_everything(seed)
    module = baseline_module(here, dataset) if outputs is None else distil_module(here, dataset, outputs)
    result = fit_student(here, dataset, module, "student")
    module.model.items.fold()
    shutil.rmtree(folder)
    return result["best_val_ndcg@10"], _test_ndcg(run, dataset, module.model.eval())


def _test_ndcg(run: Run, dataset: Dataset, model: SequentialRecommender) -> float:
    filter_seen = run.cfg.metrics.filter_seen
    model.to(best_device())
    return evaluate(
        lambda batch: model.predict(batch.history),
        dataset,
        "test",
        ks=[10],
        history_length=model.history_length,
        batch_size=eval_rows(run, dataset, filter_seen),
        filter_seen=filter_seen,
        device=best_device(),
        title="student: test users",
    ).metrics[METRIC]


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
    header = ["asked", "share", "tokens", "seconds", f"test {METRIC}", "of the gain", "seeds"]
    return TextTable("What asking the teacher is worth", header, rows)


def _draw(dataset: Dataset, points: list[Point], folder: Path) -> None:
    """Draws a line for each policy, from the teacher's item embeddings alone (0) to all that it knows (1)."""
    plt.rcParams["svg.hashsalt"] = "budget"  # the same points give the same file
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    by_policy: dict[str, dict[float, float]] = {}
    for policy, share in dict.fromkeys((p.policy, p.share) for p in points if p.policy not in (NONE, ALL)):
        by_policy.setdefault(policy, {})[share] = _mean(points, policy, share)[0]
    both = [point for point in points if point.policy in (NONE, ALL) and point.share is not None]
    ends = {point.share: _mean(points, point.policy, point.share)[0] for point in both}
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
    """Prints the table."""
    _table(points).show()
