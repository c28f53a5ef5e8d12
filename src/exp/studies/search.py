"""Searches a student's settings on validation: Optuna proposes, the program trains, the median prunes."""

import logging
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from ...core.artefact import STUDENT, fingerprint
from ...core.errors import DiskFullError, DivergedError, UserError
from ...core.seed import seed_everything
from ...core.settings_reading import changed
from ...core.sharing.claims import is_alive
from ...data.dataset import Dataset
from ...serve.events import with_driver
from ...student.trainer_baseline import MONITOR, baseline_module, fit_student
from ..program.run import Run
from .search_report import overrides, write_report
from .search_space import given_point, plain_space, read_space, rounded

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
# What a trial keeps: who trains it, and why it failed, where that was its own fault.
PROCESS, FAILED = "process", "failed"
TABLES_MADE = 2.0  # seconds in which a database's tables are made
TRIES = 3  # of a point whose process was killed

log = logging.getLogger(__name__)


def search(run: Run, dataset: Dataset) -> optuna.Study:
    """Trains students until the budget is spent; writes `search/{trials.json,trials.md,best.yaml}` after each.

    Every training is judged by its best validation NDCG@10; the test examples are never looked at. The trials are kept
    beside the models, or in `search.storage`, so that a search that was interrupted, or is given a larger budget, goes
    on where it was; several starts at once share them. Which point comes n-th depends on the student's seed and on the
    trials before it alone; every training draws from that seed.

    Raises:
        UserError: The space cannot be read, or a config within it is wrong, or the student begins with encodings, or is
            to be trained over devices.
    """
    if run.settings.student.begins_with_texts:
        raise UserError(
            "student.text_init above 0 and student.item_vectors=texts begin with encodings, which a search does not "
            "make: set them to 0 and free; what it searches is the student by itself."
        )
    if run.settings.trainer.devices > 1:
        raise UserError(
            "run_search trains each student in one process: set trainer.devices=1, and start it several times at once."
        )
    space, budget = read_space(run.settings), run.settings.search
    study = _study(run, dataset, space)
    folder = run.dir / "search"
    folder.mkdir(parents=True, exist_ok=True)
    end = time.perf_counter() + 60 * budget.minutes
    _take_up_again(study)
    while sum(trial.state in FINISHED for trial in _undisturbed(study)) < budget.trials and time.perf_counter() < end:
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=budget.startup_trials,
            multivariate=True,
            seed=run.settings.student_seed + len(_undisturbed(study)),
        )
        trial = study.ask(space)
        trial.set_user_attr(PROCESS, [socket.gethostname(), os.getpid()])
        log.info("── trial %d: %s", trial.number, overrides(trial.params))
        with _told(study, trial):
            value, result = _train(run, dataset, trial)
            for name, figure in result.items():
                trial.set_user_attr(name, figure)
            study.tell(trial, value)
            log.info("trial %d: validation NDCG@10 %.4f", trial.number, value)
        write_report(run, dataset, study, folder)
    write_report(run, dataset, study, folder)
    return study


def _study(run: Run, dataset: Dataset, space: dict[str, BaseDistribution]) -> optuna.Study:
    """Opens or begins the study of this dataset, student, space and seed; the config as given is its first trial."""
    fixed, name = run.settings.student.key(), run.settings.student.name
    for searched in space:
        _forget(fixed, searched.removeprefix("student."))
    filter_seen = run.settings.metrics.filter_seen
    seed = run.settings.student_seed
    key = fingerprint("search", STUDENT.format, dataset.fingerprint, fixed, filter_seen, plain_space(space), seed)
    folder = run.settings.paths.models_dir / dataset.name / f"search-{name.replace(':', '.')}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    address = run.settings.search.storage
    study = optuna.create_study(
        storage=_file(folder) if address is None else _database(address),
        study_name=name if address is None else f"{dataset.name}/{folder.name}",  # a database has many
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=run.settings.search.startup_trials,
            n_warmup_steps=run.settings.search.pruning_warmup,
        ),
    )
    before = study.get_trials(deepcopy=False)
    if before:
        log.info("%d trials are there already: %s", len(before), folder)
    elif (given := given_point(run.settings, space)) is not None:
        study.enqueue_trial(given)
    else:
        log.info("The config's own settings lie outside the space: they are not tried.")
    return study


def _file(folder: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(folder / "trials.log")))


def _database(address: str) -> BaseStorage:
    """Returns what keeps trials in a database.

    Raises:
        UserError: It cannot be reached, or not without a driver that is not there.
    """
    try:
        url = with_driver(address).render_as_string(hide_password=False)
        try:
            return optuna.storages.RDBStorage(url)
        except DatabaseError:  # several starts at once: one makes the tables, and is in the others' way
            time.sleep(TABLES_MADE)
            return optuna.storages.RDBStorage(url)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise UserError(f"search.storage={address} cannot be used ({str(error).splitlines()[0]}).") from None


def _forget(tree: dict[str, Any], key: str) -> None:
    *groups, name = key.split(".")
    for each in groups:
        tree = tree[each]
    tree.pop(name, None)


@contextmanager
def _told(study: optuna.Study, trial: optuna.Trial) -> Iterator[None]:
    """Tells the study about a training that did not come to its end."""
    try:
        yield
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        log.info("trial %d: cut, below the median", trial.number)
    except DivergedError as error:
        trial.set_user_attr(FAILED, str(error))
        study.tell(trial, state=TrialState.FAIL)
        log.warning("trial %d: %s", trial.number, error)
    except (KeyboardInterrupt, SystemExit, DiskFullError):  # no fault of the point: it is tried again
        study.tell(trial, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
        raise
    except BaseException as error:
        trial.set_user_attr(FAILED, f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
        raise


def _undisturbed(study: optuna.Study) -> list[FrozenTrial]:
    """Returns all trials but those that were interrupted: with them, a search draws what one does that never was. Of a
    point that ended so again and again (its process may be killed for the memory that it takes) the last one counts.
    """
    interrupted, tries = _interrupted(study), _tries(study)
    last = {_point(trial): trial.number for trial in interrupted if tries[_point(trial)] >= TRIES}
    left_out = {trial.number for trial in interrupted} - set(last.values())
    return [trial for trial in study.get_trials(deepcopy=False) if trial.number not in left_out]


def _interrupted(study: optuna.Study) -> list[FrozenTrial]:
    failed = study.get_trials(deepcopy=False, states=[TrialState.FAIL])
    return [trial for trial in failed if FAILED not in trial.user_attrs]


def _tries(study: optuna.Study) -> Counter[str]:
    """Returns how often each point was interrupted."""
    return Counter(map(_point, _interrupted(study)))


def _point(trial: FrozenTrial) -> str:
    return str(sorted(trial.params.items()))


def _take_up_again(study: optuna.Study) -> None:
    """Lets the points be tried again whose processes on this machine were killed."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        host, process = trial.user_attrs.get(PROCESS, [None, 0])
        if host == socket.gethostname() and not is_alive(process):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            if _tries(study)[_point(trial)] < TRIES:
                study.enqueue_trial(trial.params)


def _train(run: Run, dataset: Dataset, trial: optuna.Trial) -> tuple[float, dict[str, Any]]:
    """Returns the best validation NDCG@10 of a training with the trial's settings, and what it took."""
    settings, folder = changed(run.settings, rounded(trial.params)), run.dir / "trials" / str(trial.number)
    folder.mkdir(parents=True, exist_ok=True)
    seed_everything(settings.student_seed)
    start = time.perf_counter()
    try:
        module = baseline_module(settings.student, dataset)
        result = fit_student(
            module,
            settings.student,
            dataset,
            settings.metrics,
            settings.student_seed,
            stage="baseline",
            run_dir=folder,
            loggers=run.loggers(f"trial_{trial.number}"),
            callbacks=[Pruning(trial)],
        )
    finally:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # the settings are what is looked for
    took = {"epochs": result["epochs"], "steps": result["steps"], "seconds": round(time.perf_counter() - start, 1)}
    return result["best_val_ndcg@10"], took


class Pruning(L.Callback):
    """Reports every validation to the trial and ends the training when the pruner says so."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.trial.report(float(trainer.callback_metrics[MONITOR]), trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned
