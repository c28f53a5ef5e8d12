import json
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from src.core.errors import DivergedError
from src.exp import search as search_module
from src.exp.search import search
from tests.exp.roads import compose_with, raw_log, run_in, start_program
from tests.worlds import tiny_dataset

SPACE = [
    "search.space={student:{model:{dropout:{low:0.1,high:0.7,step:0.1}},train:{lr:{low:0.0005,high:0.01,log:true}}}}",
    "search.minutes=5",
    "search.startup_trials=2",
]
DATASET = tiny_dataset()


def started(folder: Path, *overrides: str):
    return run_in(folder, "~search.space", f"+{SPACE[0]}", *SPACE[1:], *overrides)


@pytest.fixture
def scripted(monkeypatch):
    """Replaces training by a script of validation values (or exceptions); returns what was trained, in order."""

    def of(*outcomes):
        script, trained = iter(outcomes), []

        def fit_student(run, dataset, module, stage, callbacks):
            trained.append((run.cfg.student.model.dropout, run.cfg.student.train.lr))
            outcome = next(script)
            if isinstance(outcome, BaseException):
                raise outcome
            return {"best_val_ndcg@10": outcome, "epochs": 2, "steps": 6}

        monkeypatch.setattr(search_module, "fit_student", fit_student)
        return trained

    return of


def values(study: optuna.Study) -> list[float | None]:
    return [trial.value for trial in study.get_trials()]


def test_the_first_trial_is_the_config_as_given_and_the_budget_is_kept(tmp_path, scripted):
    trained = scripted(0.1, 0.3, 0.2)
    given = ("student.model.dropout=0.5", "student.train.lr=0.004")
    study = search(started(tmp_path, "search.trials=3", *given), DATASET)
    assert trained[0] == (0.5, 0.004)
    assert values(study) == [0.1, 0.3, 0.2]
    assert len(set(trained)) == 3


def test_what_was_found_is_written_for_people_and_programs(tmp_path, scripted):
    trained = scripted(0.1, 0.3)
    search(started(tmp_path, "search.trials=2", "metrics.filter_seen=true"), DATASET)
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
    search(started(tmp_path, "search.trials=2"), DATASET)
    found = (tmp_path / "search" / "best.yaml").read_text().replace("/dataset: tiny", "/dataset: movielens")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "found.yaml").write_text(found)
    cfg = compose_with(f"hydra.searchpath=[file://{tmp_path}]", "experiment=found")
    assert (cfg.student.model.dropout, cfg.student.train.lr) == trained[1]


def test_a_search_goes_on_where_it_was_with_the_points_of_an_uninterrupted_one(tmp_path, scripted):
    whole = scripted(0.1, 0.3, 0.2, 0.4)
    search(started(tmp_path / "whole", "search.trials=4"), DATASET)
    first = scripted(0.1, 0.3)
    search(started(tmp_path / "parts", "search.trials=2"), DATASET)
    second = scripted(0.2, 0.4)
    study = search(started(tmp_path / "parts", "search.trials=4"), DATASET)
    assert first + second == whole
    assert values(study) == [0.1, 0.3, 0.2, 0.4]


def test_other_seeds_are_other_searches(tmp_path, scripted):
    first = scripted(0.1, 0.3)
    search(started(tmp_path, "search.trials=2"), DATASET)
    second = scripted(0.1, 0.3)
    search(started(tmp_path, "search.trials=2", "seed=1"), DATASET)
    assert len(first) == len(second) == 2
    assert first[1] != second[1]


def test_a_training_that_diverges_is_one_bad_trial(tmp_path, scripted):
    scripted(0.1, DivergedError("The loss became nan."), 0.2)
    study = search(started(tmp_path, "search.trials=3"), DATASET)
    assert [trial.state for trial in study.get_trials()] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
    ]


def test_an_interruption_ends_the_search_and_keeps_what_was_found(tmp_path, scripted):
    scripted(0.1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        search(started(tmp_path, "search.trials=3"), DATASET)
    scripted(0.2)
    assert values(search(started(tmp_path, "search.trials=3"), DATASET)) == [0.1, None, 0.2]


def test_trainings_below_the_median_are_cut(tmp_path, monkeypatch):
    """Real students: whoever is worse than the median after the first epoch does not get the second."""
    space = "+search.space={student:{train:{lr:{choices:[0.05,0.0000001]}}}}"
    overrides = ["~search.space", space, "search.trials=6", "search.startup_trials=2", "search.pruning_warmup=0"]
    study = search(run_in(tmp_path, *overrides, "student.train.max_epochs=3", "student.train.lr=0.05"), DATASET)
    cut = study.get_trials(states=[TrialState.PRUNED])
    assert cut
    assert all(len(trial.intermediate_values) < 3 for trial in cut)
    assert not list(tmp_path.rglob("*.ckpt"))  # only settings are looked for


@pytest.mark.slow
def test_the_command_ends_with_the_command_that_trains_the_best(tmp_path):
    data = raw_log(tmp_path / "raw")
    overrides = ["search.trials=2", "search.minutes=2", "student.train.max_epochs=1", "metrics.filter_seen=true"]
    space = "search.space.student={train:{lr:{low:0.001,high:0.002}}}"
    ended = start_program(
        "run_search", data, tmp_path / "made", tmp_path / "run", *overrides, "~search.space", f"+{space}"
    )
    assert ended.returncode == 0, ended.stderr
    assert "src.exp.run_student_baseline" in ended.stderr
    assert "metrics.filter_seen=true" in ended.stderr and "search.trials" not in ended.stderr.split("run_student_")[1]
    assert (tmp_path / "run" / "search" / "best.yaml").is_file()
