import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from omegaconf import OmegaConf
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError

from src.core.artefact import STUDENT
from src.core.errors import DivergedError, UserError
from src.exp.program.config import compose_settings
from src.exp.studies import search as search_module
from src.exp.studies.search import search
from src.exp.studies.search_space import rounded
from tests.exp.roads import raw_log, run_in
from tests.processes import child
from tests.worlds import tiny_dataset

NO_OTHERS = "history_length:null,hidden_size:null,num_blocks:null,num_heads:null"
NO_OTHER = "batch_targets:null,weight_decay:null,lr_schedule:null,max_epochs:null"
DROPOUT, LR = "dropout:{low:0.1,high:0.7,step:0.1}", "lr:{low:0.0005,high:0.01,log:true}"
SPACE = [
    f"search.space={{student:{{model:{{{DROPOUT},{NO_OTHERS}}},train:{{{LR},{NO_OTHER}}}}}}}",
    "search.minutes=5",
    "search.startup_trials=2",
]
DATASET = tiny_dataset()


def run_of(folder: Path, *overrides: str):
    return run_in(folder, f"dataset.name={DATASET.name}", *SPACE, *overrides)


class Trained(list):
    """Dropout and learning rate of every training, and the seeds."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds: list[int] = []


@pytest.fixture
def scripted(monkeypatch):
    """Replaces training by a script of validation values (or exceptions); returns what was trained, in order."""

    def of(*outcomes):
        script, trained = iter(outcomes), Trained()

        def fit_student(module, settings, dataset, metrics, seed, *, stage, run_dir, loggers, callbacks):
            trained.seeds.append(seed)
            trained.append((settings.model.dropout, settings.train.lr))
            outcome = next(script)
            if isinstance(outcome, BaseException):
                raise outcome
            return {"best_val_ndcg@10": outcome, "epochs": 2, "steps": 6}

        monkeypatch.setattr(search_module, "fit_student", fit_student)
        return trained

    return of


def study_storage(folder: Path) -> JournalStorage:
    (log,) = (folder / "models_dir").rglob("trials.log")
    return JournalStorage(JournalFileBackend(str(log)))


def values(study: optuna.Study) -> list[float | None]:
    return [trial.value for trial in study.get_trials()]


def test_the_first_trial_is_the_config_as_given_and_the_budget_is_kept(tmp_path, scripted):
    trained = scripted(0.1, 0.3, 0.2)
    given = ("student.model.dropout=0.5", "student.train.lr=0.004")
    study = search(run_of(tmp_path, "search.trials=3", *given), DATASET)
    assert trained[0] == (0.5, 0.004)
    assert values(study) == [0.1, 0.3, 0.2]
    assert len(set(trained)) == 3


def test_what_was_found_is_written_for_people_and_programs(tmp_path, scripted):
    trained = scripted(0.1, 0.3)
    search(run_of(tmp_path, "search.trials=2", "metrics.filter_seen=true"), DATASET)
    trials = json.loads((tmp_path / "search" / "trials.json").read_text())
    assert [trial["best validation NDCG@10"] for trial in trials] == [0.1, 0.3]
    assert trials[1]["settings"] == {"student.model.dropout": trained[1][0], "student.train.lr": trained[1][1]}
    best = OmegaConf.load(tmp_path / "search" / "best.yaml")
    assert (best.student.model.dropout, best.student.train.lr) == trained[1]
    assert best.metrics.filter_seen is True
    table = (tmp_path / "search" / "trials.md").read_text().splitlines()
    assert table[2].startswith("| 1 | 0.3000 |")


def test_the_best_settings_compose_as_an_experiment(tmp_path, scripted):
    trained = scripted(0.1, 0.3)
    search(run_of(tmp_path, "search.trials=2"), DATASET)
    found = (tmp_path / "search" / "best.yaml").read_text().replace("/dataset: tiny", "/dataset: movielens")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "found.yaml").write_text(found)
    student = compose_settings(f"hydra.searchpath=[file://{tmp_path}]", "experiment=found").student
    assert (student.model.dropout, student.train.lr) == trained[1]


def test_a_search_goes_on_where_it_was_with_the_points_of_an_uninterrupted_one(tmp_path, scripted):
    whole = scripted(0.1, 0.3, 0.2, 0.4)
    search(run_of(tmp_path / "whole", "search.trials=4"), DATASET)
    first = scripted(0.1, 0.3)
    search(run_of(tmp_path / "parts", "search.trials=2"), DATASET)
    second = scripted(0.2, 0.4)
    study = search(run_of(tmp_path / "parts", "search.trials=4"), DATASET)
    assert first + second == whole
    assert values(study) == [0.1, 0.3, 0.2, 0.4]


def test_searches_of_several_machines_share_a_database(tmp_path, scripted):
    scripted(0.1, 0.3, 0.2)
    database = f"search.storage=sqlite:///{tmp_path / 'trials.db'}"
    first = search(run_of(tmp_path / "one", "search.trials=2", database), DATASET)
    study = search(run_of(tmp_path / "other", "search.trials=3", database), DATASET)
    assert values(first)[:2] == [0.1, 0.3] and values(study) == [0.1, 0.3, 0.2]
    assert not list(tmp_path.rglob("trials.log"))
    scripted(0.5)
    another = search(run_of(tmp_path / "one", "search.trials=1", "student.seed=7", database), DATASET)
    assert values(another) == [0.5]


def test_a_start_whose_tables_another_one_is_making_waits_for_them(tmp_path, monkeypatch, scripted):
    """As PostgreSQL ends one of two starts: both have asked whether the tables are there before either made them."""
    scripted(0.1)
    made: list[str] = []

    class InTheWay(optuna.storages.RDBStorage):
        def __init__(self, url: str) -> None:
            made.append(url)
            if len(made) == 1:
                raise IntegrityError("CREATE TYPE studydirection", None, Exception("duplicate key"))
            super().__init__(url)

    monkeypatch.setattr(optuna.storages, "RDBStorage", InTheWay)
    monkeypatch.setattr(search_module, "TABLES_MADE", 0.0)
    database = f"search.storage=sqlite:///{tmp_path / 'trials.db'}"
    assert len(search(run_of(tmp_path, database, "search.trials=1"), DATASET).get_trials()) == 1
    assert len(made) == 2


@pytest.mark.parametrize(
    "address", ["nosuch://host/trials", "sqlite:////nowhere/trials.db", "postgresql://me@localhost:1/trials"]
)
def test_a_database_that_cannot_be_used_is_told_in_a_sentence(tmp_path, scripted, address):
    scripted()
    with pytest.raises(UserError, match=rf"^search\.storage={address} cannot be used \(.+\)\.$"):
        search(run_of(tmp_path, f"search.storage={address}"), DATASET)


def test_other_seeds_are_other_searches(tmp_path, scripted):
    first = scripted(0.1, 0.3)
    search(run_of(tmp_path, "search.trials=2"), DATASET)
    second = scripted(0.1, 0.3)
    search(run_of(tmp_path, "search.trials=2", "seed=1"), DATASET)
    assert len(first) == len(second) == 2
    assert first[1] != second[1]
    assert (first.seeds, second.seeds) == ([0, 0], [1, 1])


def test_a_search_has_the_students_seed(tmp_path, scripted):
    trained = scripted(0.1, 0.3)
    search(run_of(tmp_path, "search.trials=2", "seed=4", "student.seed=1"), DATASET)
    assert trained.seeds == [1, 1]
    assert "seed 1)" in (tmp_path / "search" / "best.yaml").read_text()
    scripted()  # nothing more is trained: it is the search of seed=1
    assert values(search(run_of(tmp_path, "search.trials=2", "seed=1"), DATASET)) == [0.1, 0.3]


def test_students_of_another_format_are_another_search(tmp_path, scripted, monkeypatch):
    scripted(0.1)
    search(run_of(tmp_path, "search.trials=1"), DATASET)
    monkeypatch.setattr(search_module, "STUDENT", replace(STUDENT, format=STUDENT.format + 1))
    trained = scripted(0.2)
    assert values(search(run_of(tmp_path, "search.trials=1"), DATASET)) == [0.2]
    assert len(trained) == 1


@pytest.mark.parametrize("key", ["text_init", "item_vectors"])
def test_what_needs_encodings_is_not_searched(tmp_path, key):
    with pytest.raises(UserError, match=f"names student.{key}, which needs encodings"):
        search(run_of(tmp_path, f"search.space={{student:{{{key}:{{choices:[1,2]}}}}}}"), DATASET)


def test_seeds_are_not_searched(tmp_path):
    with pytest.raises(UserError, match=r"names student\.seed, and the best of several seeds is luck"):
        search(run_of(tmp_path, "search.space={student:{seed:{low:0,high:9}}}"), DATASET)


def test_a_training_that_diverges_is_one_bad_trial(tmp_path, scripted):
    scripted(0.1, DivergedError("The loss became nan."), 0.2)
    study = search(run_of(tmp_path, "search.trials=3"), DATASET)
    assert [trial.state for trial in study.get_trials()] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
    ]


@pytest.mark.parametrize("interrupted", [0, 1])  # 0: the config as given, which a search is never worse than
def test_an_interrupted_search_tries_the_same_points_as_one_that_never_was(tmp_path, scripted, interrupted):
    whole = scripted(0.1, 0.3, 0.2)
    search(run_of(tmp_path / "whole", "search.trials=3"), DATASET)
    found = [0.1, 0.3, 0.2]
    first = scripted(*found[:interrupted], SystemExit(143))
    with pytest.raises(SystemExit):
        search(run_of(tmp_path / "parts", "search.trials=3"), DATASET)
    second = scripted(*found[interrupted:])
    study = search(run_of(tmp_path / "parts", "search.trials=3"), DATASET)
    assert [*first[:-1], *second] == list(whole)
    assert first[-1] == second[0]
    assert values(study) == [*found[:interrupted], None, *found[interrupted:]]


def test_a_point_that_crashes_the_training_is_not_tried_for_ever(tmp_path, scripted):
    scripted(0.1, torch.OutOfMemoryError("no memory"))
    with pytest.raises(torch.OutOfMemoryError):
        search(run_of(tmp_path, "search.trials=3"), DATASET)
    scripted(0.2)
    study = search(run_of(tmp_path, "search.trials=3"), DATASET)
    assert values(study) == [0.1, None, 0.2]
    assert study.get_trials()[1].user_attrs["failed"] == "OutOfMemoryError: no memory"
    assert study.get_trials()[2].params != study.get_trials()[1].params


def test_a_point_whose_process_is_killed_again_and_again_is_given_up(tmp_path, scripted):
    """The system may kill it for the memory that it takes."""
    run = run_of(tmp_path, "search.trials=3")

    def train(module, settings, *_, **__):
        if settings.train.lr == point["student.train.lr"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"best_val_ndcg@10": 0.3, "epochs": 2, "steps": 6}

    def one_search() -> None:
        search_module.fit_student = train
        search(run, DATASET)

    scripted(0.1, SystemExit())
    with pytest.raises(SystemExit):
        search(run, DATASET)
    point = rounded(optuna.load_study(study_name="sasrec", storage=study_storage(tmp_path)).get_trials()[1].params)
    statuses = [child(one_search)(None) for _ in range(4)]
    assert statuses.count(-signal.SIGKILL) == 2 and statuses[-1] == 0  # with the first, three tries


def test_the_point_of_a_process_that_was_killed_is_tried_again(tmp_path, scripted):
    whole = scripted(0.1, 0.3)
    search(run_of(tmp_path / "whole", "search.trials=2"), DATASET)
    run = run_of(tmp_path / "parts", "search.trials=2")

    def train_and_be_killed(module, settings, *_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def one_search() -> None:
        search_module.fit_student = train_and_be_killed
        search(run, DATASET)

    assert child(one_search)(None) == -signal.SIGKILL
    again = scripted(0.1, 0.3)
    assert values(search(run, DATASET)) == [None, 0.1, 0.3]
    assert list(again) == list(whole)


@pytest.mark.parametrize("key", ["metrics:{filter_seen", "distill:{lam"])
def test_keys_that_no_student_depends_on_are_not_searched(tmp_path, scripted, key):
    scripted(0.1)
    space = f"search.space={{{key}:{{choices:[0,1]}}}}}}"
    with pytest.raises(UserError, match=r"on which no student depends: search student\.\* alone"):
        search(run_of(tmp_path, "search.trials=1", space), DATASET)


def test_a_point_that_the_types_refuse_ends_the_search_in_a_sentence(tmp_path, scripted):
    scripted(0.1)
    space = "search.space={student:{model:{num_heads:{choices:[3]}}}}"
    with pytest.raises(UserError, match=r"student\.model\.num_heads=3 must divide student\.model\.hidden_size=8"):
        search(run_of(tmp_path, "search.trials=1", space), DATASET)


@pytest.mark.slow
def test_trainings_below_the_median_are_cut(tmp_path):
    """Real students: whoever is worse than the median after the first epoch does not get the second."""
    space = "search.space={student:{train:{lr:{choices:[0.05,0.0000001]}}}}"
    overrides = ["student=sasrec_paper", space, "search.trials=6", "search.startup_trials=2", "search.pruning_warmup=0"]
    study = search(run_in(tmp_path, *overrides, "student.train.max_epochs=3", "student.train.lr=0.05"), DATASET)
    cut = study.get_trials(states=[TrialState.PRUNED])
    assert cut
    assert all(len(trial.intermediate_values) < 3 for trial in cut)
    assert not list(tmp_path.rglob("*.ckpt"))  # only settings are looked for


@pytest.mark.slow
def test_the_command_ends_with_the_command_that_trains_the_best(started, tmp_path):
    data = raw_log(tmp_path / "raw")
    overrides = ["search.trials=2", "search.minutes=2", "student.train.max_epochs=1", "metrics.filter_seen=true"]
    space = "search.space={student:{model:null,train:{lr:{low:0.001,high:0.002}}}}"
    status, _, told = started("run_search", data, tmp_path / "made", *overrides, space)
    assert status == 0, told
    said = told.split("src.exp.run_student_baseline")[1].splitlines()[0]
    assert "metrics.filter_seen=true" in said and "++" not in said and "search." not in said
    best = OmegaConf.load(tmp_path / "started" / "search" / "best.yaml")
    assert f"student.train.lr={best.student.train.lr}" in said
