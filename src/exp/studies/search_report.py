"""What a search found: its trials as JSON and as a table, the best settings as an experiment and as a command."""

import logging
from pathlib import Path
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from ...core.artefact import write_json, write_text
from ...core.paths import command_line
from ...data.dataset import Dataset
from ...evaluation.tables import TextTable
from ..program.run import Run
from .search_space import rounded

SHOWN = 10  # trials on the terminal

log = logging.getLogger(__name__)


def write_report(run: Run, dataset: Dataset, study: optuna.Study, folder: Path) -> None:
    """Writes `trials.json`, `trials.md` and, once a training came to its end, `best.yaml`."""
    trials = _ranked(study)
    write_json(folder / "trials.json", [_plain(trial) for trial in study.get_trials(deepcopy=False)])
    write_text(folder / "trials.md", _table(run, trials).markdown())
    if trials and trials[0].state is TrialState.COMPLETE:
        write_text(folder / "best.yaml", _experiment(run, dataset, trials[0], len(trials)))


def tell(run: Run, study: optuna.Study) -> None:
    """Prints the best trials and the command that trains with the best settings."""
    trials = _ranked(study)
    if not trials or trials[0].state is not TrialState.COMPLETE:
        log.warning("No training came to its end: raise search.trials or search.minutes.")
        return
    _table(run, trials[:SHOWN]).show()
    task = (each.removeprefix("++") for each in HydraConfig.get().overrides.task)
    given = [each for each in task if not each.startswith(("search.", "+search"))]
    kept = [each for each in given if each.split("=")[0] not in trials[0].params]
    words = " ".join([*kept, overrides(trials[0].params)])
    log.info("Train with the best settings, and rank the test users:")
    log.info("  %s %s", command_line("run_student_baseline"), words)
    log.info("Or copy %s into conf/experiment/.", run.dir / "search" / "best.yaml")


def overrides(params: dict[str, Any]) -> str:
    """Returns settings as Hydra's command line takes them."""
    return " ".join(f"{key}={value}" for key, value in rounded(params).items())


def _ranked(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that ended, the best first: those that were cut come behind all that came to their end."""
    states = [TrialState.COMPLETE, TrialState.PRUNED]
    ended = study.get_trials(deepcopy=False, states=states)
    return sorted(ended, key=lambda trial: (states.index(trial.state), -trial.value if trial.value is not None else 0))


def _table(run: Run, trials: list[FrozenTrial]) -> TextTable:
    header = ["Trial", "Validation NDCG@10", "Epochs", "Seconds", "Settings"]
    rows = [
        [
            str(trial.number),
            "cut" if trial.state is TrialState.PRUNED else f"{trial.value:.4f}",
            str(len(trial.intermediate_values)),
            f"{trial.duration.total_seconds():,.0f}" if trial.duration else "",
            " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in rounded(trial.params).items()),
        ]
        for trial in trials
    ]
    return TextTable(f"{run.settings.dataset.name}, {run.settings.student.name}: {len(rows)} trials", header, rows)


def _plain(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "best validation NDCG@10": trial.value if trial.state is TrialState.COMPLETE else None,
        "settings": rounded(trial.params),
        "validation NDCG@10": list(trial.intermediate_values.values()),
        **{name: value for name, value in trial.user_attrs.items() if name != "process"},
    }


def _experiment(run: Run, dataset: Dataset, best: FrozenTrial, trials: int) -> str:
    settings = OmegaConf.create()
    for key, value in rounded(best.params).items():
        OmegaConf.update(settings, key, value)
    return (
        "# @package _global_\n"
        f"# The best of {trials} trials on validation: NDCG@10 {best.value:.4f} "
        f"(dataset {dataset.name} {dataset.fingerprint}, seed {run.settings.student_seed}).\n"
        "defaults:\n"
        f"  - override /dataset: {dataset.name}\n"
        f"  - override /student: {run.settings.student.name}\n\n"
        f"metrics:\n  filter_seen: {str(run.settings.metrics.filter_seen).lower()}\n"
        f"{OmegaConf.to_yaml(settings)}"
    )
