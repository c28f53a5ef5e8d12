"""Folders of runs as the program leaves them, made without training anything: scores are random but seeded."""

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file

from src.core.artefact import write_json
from src.data.dataset import Dataset
from src.data.prepare import prepare_dataset
from src.evaluation.comparison import write_comparison
from src.evaluation.ranking import evaluate
from src.evaluation.settings import CompareSettings, MetricsSettings
from src.evaluation.significance import Model, compare, compare_models
from tests.worlds import tiny_logs, write_raw_log

NAMES = {
    "popularity": "Popularity",
    "baseline": "Baseline (sasrec)",
    "titles": "Titles alone (sasrec)",
    "self_distilled": "Self-distilled (sasrec)",
    "teacher": "Teacher (ilora, tiny-random)",
    "distilled": "Distilled (sasrec)",
}
STEPS = ("baseline", "titles", "self_distilled", "distilled")
HOSTILE = [
    "</script><script>window.attacked=1</script>",
    '"><img src=x onerror="window.attacked=1">',
    "{{ 7 * 7 }} {% raw %}",
    "<b>bold</b> & | `code` [link](javascript:attack) <!-- ",
    "Amélie \\ ½",
]


def dataset_in(folder: Path, titles: list[str] | None = None) -> Dataset:
    """Prepares the tiny world in `folder`, its items called `titles`, again from the first where there are too few."""
    titles = titles or HOSTILE
    called = [titles[item % len(titles)] for item in range(15)]
    settings = write_raw_log(tiny_logs(), called, folder / "raw")
    return prepare_dataset(settings, [folder / "raw"], folder / "processed")


def write_run(folder: Path, dataset: Dataset, *subjects: str, seeds: int = 1, made_from: bool = True) -> Path:
    """Writes what a run over `dataset` with these models leaves in `folder`; returns it."""
    metrics = folder / "metrics"
    metrics.mkdir(parents=True)
    models = []
    for place, subject in enumerate(subjects):
        trainings = 1 if subject in ("popularity", "teacher") else seeds
        found = [_evaluated(dataset, 100 * place + seed, subject == "teacher") for seed in range(trainings)]
        for seed, each in enumerate(found):
            file = metrics / (f"{subject}.json" if seed == 0 else f"{subject}_seed_{seed}.json")
            write_json(file, _about(dataset, subject, seed) | each.to_json())
            save_file(each.lists.tensors(), file.with_suffix(".safetensors"))
        if subject != "popularity":
            told = f"{seeds} student seeds" if trainings > 1 else None
            models.append(Model(NAMES[subject], [each.rank for each in found], told))
    if len(models) > 1:
        place = {model.name: at for at, model in enumerate(models)}
        through = [place[NAMES[subject]] for subject in STEPS if subject in subjects]
        steps = list(pairwise(through)) if len(through) > 2 else []
        settings = CompareSettings(metrics=["NDCG@10", "HR@10"], resamples=1000)
        write_comparison(compare(models, dataset.examples["test"].user, 0, settings, steps), metrics)
    if "teacher" in subjects:
        write_probe(metrics, dataset)
    write_json(metrics / "time.json", {"seconds": {"prepare": 0.5, "teacher: training": 61.0}})
    if made_from:
        write_json(metrics / "made_from.json", made_from_of(dataset))
    return folder


def write_probe(metrics: Path, dataset: Dataset) -> None:
    """Writes what a run keeps of its teacher's probe."""
    user = dataset.examples["val"].user
    names = ["as it is", "titles of other items"]
    models = [Model(name, [1 + torch.arange(len(user)) % (3 + place)]) for place, name in enumerate(names)]
    found = compare_models(models, user, baseline=0, metrics=["NDCG@10"], confidence=0.95, resamples=1000, seed=0)
    told = {"examples": len(user), "cross_entropy": {"as it is": 2.5, names[1]: 2.75}, "comparison": asdict(found)}
    write_json(metrics / "probe.json", told)


def made_from_of(dataset: Dataset) -> dict:
    """What a run's `made_from.json` holds."""
    curve = [
        {
            "step": step,
            "seconds": 2.0 * step,
            "val/NDCG@10": value,
            "val/cross_entropy": 5.5 - step / 8,
            "train/loss": 7.0 - step,
        }
        for step, value in enumerate([0.1, 0.3, 0.2], start=1)
    ]
    teacher = {"stage": "teacher: training", "kind": "teacher", "seed": 0, "seconds": 61.0}
    outputs = {"stage": "teacher: export", "kind": "teacher outputs", "seed": 0, "seconds": 30.0, "result": {}}
    student = {"stage": "distilled: training", "kind": "student", "seed": 1, "seconds": 7.0}
    return {
        "program": {"commit": "0123456789abcdef", "dirty": False},
        "dataset_folder": str(dataset.folder),
        "history_buckets": [2, 5],
        "artefacts": {
            "teacher-a": {**teacher, "result": {"curve": curve, "steps": 3, "tokens_read": 1_000_000}},
            "outputs-b": {**outputs, "tokens_read": 3_000_000, "num_examples": 50},
            "distilled-c": {**student, "result": {"curve": curve[:2], "steps": 2}},
        },
    }


def _evaluated(dataset: Dataset, seed: int, with_gates: bool):
    scores = torch.randn(12, dataset.num_items, generator=torch.Generator().manual_seed(seed))
    found = evaluate(
        lambda batch: scores[: len(batch.target)],
        dataset,
        "test",
        MetricsSettings(ks=[1, 5, 10]),
        history_length=5,
        device=torch.device("cpu"),
        title="test",
    )
    if with_gates:
        draw = torch.Generator().manual_seed(seed)
        object.__setattr__(found.lists, "gates", torch.rand(12, 4, generator=draw).softmax(1))
    return found


def _about(dataset: Dataset, subject: str, seed: int) -> dict:
    return {
        "model": NAMES[subject],
        "subject": subject,
        "training": None,
        "parameters": 1000,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "num_items": dataset.num_items,
        "split": "test",
        "filter_seen": False,
    }
