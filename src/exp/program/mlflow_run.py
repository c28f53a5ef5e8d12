"""MLflow, where `logging.mlflow=true` asks for it: a run's settings, figures and files."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.artefact import read_json
from ...core.errors import UserError
from ...core.git_info import command_typed, git_info
from ...core.paths import IN_CHECKOUT
from .settings import RunSettings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from ...training.figures import Figure, FiguresTo

FILES = ("config.yaml", "run.log", "report.html", "report.md")  # of a run, those that are there,
FOLDERS = ("metrics", "search")  # and whole folders
PARAMETERS_AT_ONCE = 100  # MLflow takes no more,
LONGEST = 6000  # nor more characters of a parameter's value
STOPPED = (130, 143)  # exit status after Ctrl-C and SIGTERM
SQLITE = "sqlite:///"

log = logging.getLogger(__name__)


class MlflowRun:
    """A run of MLflow's, for one start of the program.

    Nothing here waits for MLflow: where it takes no more, one warning says so, and the training goes on.

    Args:
        client: Of the tracking store.
        run_id: The run, already begun.
    """

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.takes_more = True

    def training(self, name: str) -> "FiguresTo":
        """Returns the logger that hands over all that the training `name` logs."""
        from ...training.figures import FiguresTo

        return FiguresTo(self.figures, name)

    def figures(self, figures: "Sequence[Figure]") -> None:
        """Logs up to 1,000 figures."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._tell(
            self.client.log_batch, metrics=[Metric(named(name), value, now, step) for name, value, step in figures]
        )

    def settings(self, settings: Mapping[str, Any]) -> None:
        """Logs every setting as a parameter, by its dotted key."""
        from mlflow.entities import Param

        parameters = [Param(named(key), str(value)[:LONGEST]) for key, value in flat(settings).items()]
        for first in range(0, len(parameters), PARAMETERS_AT_ONCE):
            self._tell(self.client.log_batch, params=parameters[first : first + PARAMETERS_AT_ONCE])

    def end(self, run_dir: Path, status: str) -> None:
        """Logs the figures and files that lie in `run_dir`, then ends with `status` (MLflow's word)."""
        for path in sorted((run_dir / "metrics").glob("*.json")):
            content = read_json(path)
            if isinstance(content, dict) and {"metrics", "split"} <= content.keys():
                of = f"{path.stem}/{content['split']}"
                self.figures([(f"{of}/{name}", value, 0) for name, value in content["metrics"].items()])
        for folder in FOLDERS:
            if (run_dir / folder).is_dir():
                self._tell(self.client.log_artifacts, str(run_dir / folder), folder)
        for path in (run_dir / name for name in FILES):
            if path.is_file():
                self._tell(self.client.log_artifact, str(path))
        self._tell(self.client.set_terminated, status)

    def _tell(self, call: Callable[..., object], *arguments: object, **named_arguments: object) -> None:
        if not self.takes_more:
            return
        try:
            call(self.run_id, *arguments, **named_arguments)
        except Exception as error:  # a store of MLflow's raises what its database, disk or network does
            self.takes_more = False
            log.warning("MLflow takes no more of this run, which goes on without it: %s", " ".join(str(error).split()))


@contextmanager
def mlflow_run(settings: RunSettings, run_dir: Path) -> Iterator[MlflowRun | None]:
    """Begins a run of MLflow's and ends it with the block, however that ends; yields None where none is asked for.

    Raises:
        UserError: MLflow is not installed, or its store cannot be written.
    """
    if not settings.logging.mlflow or settings.dry_run:
        yield None
        return
    run, status = _begun(settings, run_dir), "FAILED"
    try:
        yield run
        status = "FINISHED"
    except SystemExit as ended:
        status = "KILLED" if ended.code in STOPPED else "FAILED"
        raise
    finally:
        run.end(run_dir, status)


def named(text: str) -> str:
    """Returns a name that MLflow takes: NDCG@10 becomes NDCG_at_10."""
    return re.sub(r"[^\w\-. :/]", "_", text.replace("@", "_at_"))


def flat(settings: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Returns every value of nested settings by its dotted key."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inner = isinstance(value, Mapping) and value
        found |= flat(value, f"{at}{name}.") if inner else {f"{at}{name}": value}
    return found


def _begun(settings: RunSettings, run_dir: Path) -> MlflowRun:
    if find_spec("mlflow") is None:
        install = "poetry install --extras mlflow" if IN_CHECKOUT else "pip install 'anyo[mlflow]'"
        raise UserError(
            f"logging.mlflow=true needs MLflow, which is not installed: run `{install}`, or set logging.mlflow=false."
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a run sends nothing to anybody who was not named
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # what it says goes to our log
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    own = f"{SQLITE}{run_dir}/mlruns/mlflow.db"  # MLflow refuses its older stores, which are plain files
    uri = settings.logging.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI") or own
    name = f"anyo-{settings.dataset.name}"
    where = uri if uri in (own, settings.logging.mlflow_uri) else "the store that MLFLOW_TRACKING_URI names"
    log.info("Told to MLflow, too: experiment %s in %s", name, where)
    git = git_info()
    tags = {"mlflow.source.name": command_typed(), "mlflow.source.git.commit": git["commit"], "dirty": git["dirty"]}
    try:
        client = MlflowClient(uri)
        experiment = _experiment(client, uri, name)
        begun = client.create_run(
            experiment, run_name=run_dir.name, tags={key: str(value) for key, value in tags.items()}
        )
    except Exception as error:  # see `MlflowRun._tell`
        said = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"MLflow's store cannot be used ({said}): mend logging.mlflow_uri, or set logging.mlflow=false."
        ) from error
    run = MlflowRun(client, begun.info.run_id)
    run.settings(settings.plain())
    return run


def _experiment(client: "MlflowClient", uri: str, name: str) -> str:
    """Returns the number of the experiment `name`, which is made where there is none. Files of a run lie beside a
    database of SQLite's (MLflow would put them into the folder of whichever run was first); a server knows where.
    """
    there = client.get_experiment_by_name(name)
    if there is not None:
        return there.experiment_id
    beside = None
    if uri.startswith(SQLITE):
        beside = (Path(uri.removeprefix(SQLITE)).resolve().parent / "artifacts").as_uri()
    return client.create_experiment(name, artifact_location=beside)
