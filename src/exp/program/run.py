"""What every entry point shares: settings, a run directory, a log, a stopwatch, and errors told in one sentence."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ...core.artefact import told_where_disk_is_full
from ...core.errors import UserError
from ...core.logging import Stopwatch
from ...core.paths import CONF_DIR
from .settings import RunSettings

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Run:
    """One start of the program.

    dir: `result/result_<timestamp>`, the working directory.
    """

    settings: RunSettings
    dir: Path
    stopwatch: Stopwatch


Job = Callable[[Run], None]


def command(job: Job, module: str, does: str | None) -> Callable[[], None]:
    """Returns the `main` of an entry point: `--help`, or the job in a run directory that Hydra makes.

    Args:
        job: What the command does.
        module: `__spec__.name` of the entry point.
        does: Its docstring.
    """

    def main() -> None:
        if {"--help", "-h"} & set(sys.argv[1:]):
            from .help import help_text

            print(help_text(module.rpartition(".")[2], does or ""))
            return
        _with_hydra(job)

    return main


def _with_hydra(job: Job) -> None:
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
        start(cfg, job)

    try:
        start_in_run_directory()
    except CONFIG_ERRORS as error:
        if composed:
            raise
        print(f"error: {in_words(error)}", file=sys.stderr)
        sys.exit(2)


def start(cfg: "DictConfig", job: Job) -> None:
    """Runs `job` in the current directory, the run directory.

    A `UserError` ends the program with its sentence and status 2, Ctrl-C and SIGTERM with theirs (130, 143); any other
    exception is a fault of ours and shows its traceback.
    """
    from .config import settings_of

    run_dir = Path.cwd()
    _start_log(run_dir / "run.log", "INFO")
    program = logging.getLogger("anyo")
    try:
        with ended_by_sigterm(), told_where_disk_is_full(run_dir):
            settings = settings_of(cfg)
            logging.getLogger().setLevel(settings.logging.level)
            (run_dir / "config.yaml").write_text(_as_yaml(settings), encoding="utf-8")
            job(Run(settings, run_dir, Stopwatch(run_dir)))
    except UserError as error:
        program.error("error: %s", error)
        sys.exit(2)
    except KeyboardInterrupt:
        program.error("Ended by Ctrl-C: the same command goes on with what is there.")
        sys.exit(128 + signal.SIGINT)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the program as an exception does, so that nothing half-written stays behind."""
    if threading.current_thread() is not threading.main_thread():  # no other may handle signals
        yield
        return

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _as_yaml(settings: RunSettings) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(settings.plain()))


def _start_log(path: Path, level: str) -> None:
    """Sends log lines to the terminal as they are, and to `path` with time, level and origin."""
    terminal, file = logging.StreamHandler(sys.stderr), logging.FileHandler(path, encoding="utf-8")
    terminal.setFormatter(logging.Formatter("%(message)s"))
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[terminal, file], force=True)
    logging.captureWarnings(True)
