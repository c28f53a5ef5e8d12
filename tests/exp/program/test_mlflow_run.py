import json
import os
import subprocess
import sys

import pytest

from src.core.artefact import write_json
from src.core.errors import UserError
from src.core.paths import ROOT
from src.exp.program import mlflow_run as module
from src.exp.program.mlflow_run import MlflowRun, flat, mlflow_run, named
from tests.exp.keys import composed
from tests.exp.roads import SMALL

ASKED = (*SMALL, "logging.mlflow=true")


class Store:
    """Keeps what MLflow's client is told; falls silent where a test says so."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.gone = False

    def __getattr__(self, name: str):
        def tell(run_id, *arguments, **more):
            if self.gone:
                raise ConnectionError("the server\nis gone")
            self.told.append((name, run_id, *arguments, *more.values()))

        return tell


def test_nothing_is_begun_where_nothing_is_asked_for(tmp_path):
    for overrides in (SMALL, [*ASKED, "dry_run=true"]):
        with mlflow_run(composed(*overrides), tmp_path) as run:
            assert run is None
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught, mlflow_run(composed(*ASKED), tmp_path):
        pytest.fail("began")
    assert str(caught.value) == (
        "logging.mlflow=true needs MLflow, which is not installed: run `poetry install --extras mlflow`, or set "
        "logging.mlflow=false."
    )


def test_names_are_those_that_mlflow_takes():
    assert [named(each) for each in ("test/NDCG@10", "a.b/c d", "π=3")] == ["test/NDCG_at_10", "a.b/c d", "π_3"]


def test_settings_are_told_by_dotted_keys():
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": None, "f": {}}) == {"a.b.c": 1, "a.d": [2], "e": None, "f": {}}


def test_a_store_that_is_gone_is_told_once_and_asked_no_more(tmp_path, caplog):
    store = Store()
    run = MlflowRun(store, "r1")
    run.figures([("train/loss", 1.0, 3)])
    assert [
        (name, run_id, metrics[0].key, metrics[0].value, metrics[0].step) for name, run_id, metrics in store.told
    ] == [("log_batch", "r1", "train/loss", 1.0, 3)]
    store.gone = True
    run.figures([("train/loss", 1.0, 4)])
    store.gone = False
    run.end(tmp_path, "FINISHED")
    assert caplog.messages == ["MLflow takes no more of this run, which goes on without it: the server is gone"]
    assert len(store.told) == 1


def test_an_end_hands_over_figures_tables_and_files(tmp_path):
    (tmp_path / "metrics").mkdir()
    write_json(tmp_path / "metrics" / "distilled.json", {"split": "test", "metrics": {"NDCG@10": 0.5}})
    write_json(tmp_path / "metrics" / "time.json", {"seconds": {}})
    (tmp_path / "run.log").write_text("said")
    store = Store()
    MlflowRun(store, "r1").end(tmp_path, "FAILED")
    (figures, *rest) = store.told
    assert [(metric.key, metric.value) for metric in figures[2]] == [("distilled/test/NDCG_at_10", 0.5)]
    assert rest == [
        ("log_artifacts", "r1", str(tmp_path / "metrics"), "metrics"),
        ("log_artifact", "r1", str(tmp_path / "run.log")),
        ("set_terminated", "r1", "FAILED"),
    ]


@pytest.mark.parametrize("uri", ["nonsense", "https://me:secret@server"])
def test_an_address_with_a_password_is_refused_as_config_yaml_would_keep_it(uri):
    with pytest.raises(
        UserError, match=r"logging\.mlflow_uri=.* must be null or an address with ://, without a password"
    ):
        composed(*SMALL, f"logging.mlflow_uri='{uri}'")


@pytest.mark.slow
def test_a_real_store_keeps_a_run_whole(tmp_path):
    """In a process of its own: what MLflow sets up when it is imported would stay."""
    code = """
import logging, sys
from pathlib import Path
from src.exp.program.mlflow_run import mlflow_run
from tests.exp.keys import composed
from tests.exp.roads import SMALL
folder = Path(sys.argv[1])
(folder / "config.yaml").write_text("seed: 0")
logging.basicConfig(level="INFO")
from lightning.pytorch.loggers import TensorBoardLogger  # heavy either way
with mlflow_run(composed(*SMALL, "logging.mlflow=true"), folder) as run:
    logger = run.training("baseline")
    logger.log_metrics({"train/loss": float("nan"), "val/NDCG@10": 0.25}, 7)
    logger.finalize("success")
try:
    with mlflow_run(composed(*SMALL, "logging.mlflow=true"), folder) as run:
        sys.exit(143)
except SystemExit:
    pass
from mlflow.tracking import MlflowClient
client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
(experiment,) = [each for each in client.search_experiments() if each.name != "Default"]
killed, done = client.search_runs([experiment.experiment_id])
import json
print(json.dumps({
    "experiment": experiment.name, "status": [done.info.status, killed.info.status],
    "metrics": {k: str(v) for k, v in done.data.metrics.items()}, "lr": done.data.params["student.train.lr"],
    "files": [each.path for each in client.list_artifacts(done.info.run_id)],
    "step": client.get_metric_history(done.info.run_id, "baseline/val/NDCG_at_10")[0].step,
    "commit": len(done.data.tags["mlflow.source.git.commit"]),
}))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "experiment": "anyo-movielens",
        "status": ["FINISHED", "KILLED"],
        "metrics": {"baseline/train/loss": "nan", "baseline/val/NDCG_at_10": "0.25"},
        "lr": str(composed(*SMALL).student.train.lr),
        "files": ["config.yaml"],
        "step": 7,
        "commit": 40,
    }
    assert "alembic" not in done.stderr
    assert (tmp_path / "mlruns" / "mlflow.db").is_file()
    assert list((tmp_path / "mlruns" / "artifacts").rglob("config.yaml"))
