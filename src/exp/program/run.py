"""What every entry point shares: settings, a run directory, a log, a stopwatch, and errors told in one sentence."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ...core.artefact import told_where_disk_is_full
from ...core.errors import UserError
from ...core.logging import RunLog, Stopwatch
from ...core.paths import CONF_DIR
from ...training.started import leads, started_together
from .launch import check_devices, start_over_processes
from .mlflow_run import MlflowRun, mlflow_run
from .settings import RunSettings

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Run:
    """One start of the program.

    dir: `result/result_<timestamp>`, the working directory.
    mlflow: Where `logging.mlflow` asks for it.
    """

    settings: RunSettings
    dir: Path
    stopwatch: Stopwatch
    mlflow: MlflowRun | None = None

    def loggers(self, training: str) -> "list[Logger]":
        """Returns who is told of a training's figures under the name `training`, beside TensorBoard."""
        return [] if self.mlflow is None else [self.mlflow.training(training)]


Job = Callable[[Run], None]


def command(job: Job, module: str, does: str | None, follow: Callable[[], int] | None = None) -> Callable[[], None]:
    """Returns the `main` of an entry point: `--help`, or the job in a run directory that Hydra makes.

    Args:
        job: What the command does.
        module: `__spec__.name` of the entry point.
        does: Its docstring.
        follow: What all processes but the first do where several were started together; returns their status. None: the
            command trains nothing that processes could share.
    """

    def main() -> None:
        if started_together() > 1:  # what PyTorch tells of sockets and buckets is for those who mend them
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        if not leads():
            try:
                with ended_by_signals():
                    sys.exit(follow() if follow else 2)
            except KeyboardInterrupt:  # the first one tells it
                sys.exit(128 + signal.SIGINT)
        if {"--help", "-h"} & set(sys.argv[1:]):
            from .help import help_text

            print(help_text(module.rpartition(".")[2], does or ""))
        elif started_together() > 1 and not follow:
            print("error: This command trains nothing that processes could share: start it alone.", file=sys.stderr)
            sys.exit(2)
        else:
            _with_hydra(job, module if follow else None)
        if started_together() > 1:  # where this one fails, torchrun ends the others
            from ...training.processes import line

            line.end()

    return main


def _with_hydra(job: Job, shared: str | None) -> None:
    import hydra
    from omegaconf import DictConfig

    from .config import CONFIG_ERRORS, in_words, with_any_key

    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra would print half a traceback of what we say in a sentence
    composed = False
    sys.argv[1:] = with_any_key(sys.argv[1:])

    @hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
    def start_in_run_directory(cfg: DictConfig) -> None:
        nonlocal composed
        composed = True
        start(cfg, job, shared)

    try:
        start_in_run_directory()
    except CONFIG_ERRORS as error:
        if composed:
            raise
        print(f"error: {in_words(error)}", file=sys.stderr)
        sys.exit(2)


def start(cfg: "DictConfig", job: Job, shared: str | None = None) -> None:
    """Runs `job` in the current directory, the run directory; where `trainer.devices` asks for more processes than this
    one and `shared` is the module of a command that they can share, starts them instead.

    A `UserError` ends the program with its sentence and status 2, Ctrl-C and SIGTERM with theirs (130, 143); any other
    exception is a fault of ours and shows its traceback. run.log holds all of it.
    """
    from .config import settings_of

    run_dir = Path.cwd()
    run_log = RunLog(run_dir / "run.log")
    program = logging.getLogger("anyo")
    with ExitStack() as at_the_end:  # when run.log says how it ended
        try:
            with ended_by_signals(), told_where_disk_is_full(run_dir):
                settings = settings_of(cfg)
                logging.getLogger().setLevel(settings.logging.level)
                config = run_dir / "config.yaml"
                config.write_text(_as_yaml(settings), encoding="utf-8")
                run_log.note(f"Settings, resolved: {config}")
                devices = settings.trainer.devices
                if shared and max(devices, started_together()) > 1:
                    check_devices(devices)
                    if started_together() == 1 and not settings.dry_run:
                        start_over_processes(shared, devices, run_dir)
                        return
                mlflow = at_the_end.enter_context(mlflow_run(settings, run_dir))
                job(Run(settings, run_dir, Stopwatch(run_dir), mlflow))
        except UserError as error:
            program.error("error: %s", error)
            sys.exit(2)
        except KeyboardInterrupt:
            program.error("Ended by Ctrl-C: the same command goes on with what is there.")
            sys.exit(128 + signal.SIGINT)
        except SystemExit as ended:
            run_log.note(f"Ended with status {ended.code}")
            raise
        except Exception as error:
            if _is_loss(error):
                run_log.note("Ended since another process of this run has", with_traceback=True)  # torchrun says which
                sys.exit(1)
            run_log.note("Ended by a fault of the program", with_traceback=True)  # Python shows it on the terminal
            raise


def _is_loss(error: Exception) -> bool:
    if started_together() == 1:
        return False
    from ...training.processes import is_loss

    return is_loss(error)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Lets SIGTERM and Ctrl-C end the program as exceptions do, so that nothing half-written stays behind.

    Raises:
        SystemExit, KeyboardInterrupt: A signal came; also where it met a library's compiled code, which may turn the
            exception into a fault of its own (Polars: a panic).
    """
    if threading.current_thread() is not threading.main_thread():  # no other may handle signals
        yield
        return
    exceptions = {signal.SIGTERM: SystemExit(128 + signal.SIGTERM), signal.SIGINT: KeyboardInterrupt()}
    came: list[BaseException] = []

    def end(number: int, frame: FrameType | None) -> NoReturn:
        came.append(exceptions[signal.Signals(number)])
        raise came[-1]

    before = {number: signal.getsignal(number) for number in exceptions}
    if before[signal.SIGINT] is not signal.default_int_handler:  # ignored, in a shell's background
        del before[signal.SIGINT]
    for number in before:
        signal.signal(number, end)
    try:
        yield
    except BaseException as error:
        if came and not isinstance(error, SystemExit | KeyboardInterrupt | UserError):  # a sentence says more
            raise came[-1] from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_yaml(settings: RunSettings) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(settings.plain()))
