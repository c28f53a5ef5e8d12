"""What every entry point shares: a run directory, a log, a stopwatch, and errors told in one sentence."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..core.config import check_config
from ..core.errors import UserError
from ..core.logging import Stopwatch, quiet_libraries
from ..core.memory import keep_freed_memory
from ..core.seed import seed_everything
from .choices import check_choices


@dataclass(frozen=True)
class Run:
    """One start of the program."""

    cfg: DictConfig
    dir: Path  # result/result_<timestamp>, the working directory
    stopwatch: Stopwatch

    def settings(self, key: str) -> dict[str, Any]:
        """Returns a part of the config as plain values, interpolations resolved."""
        return OmegaConf.to_container(OmegaConf.select(self.cfg, key), resolve=True)

    def path(self, name: str) -> Path:
        """Returns `paths.<name>`."""
        return Path(self.cfg.paths[name])


def start(cfg: DictConfig, job: Callable[[Run], None]) -> None:
    """Runs `job` in the current directory, the run directory that Hydra made.

    A `UserError` ends the program with its sentence and status 2; any other exception is a fault of ours and shows
    its traceback.
    """
    run_dir = Path.cwd()
    keep_freed_memory()
    _start_log(run_dir / "run.log", cfg.logging.level)
    try:
        check_config(cfg)
        check_choices(cfg)
        OmegaConf.save(cfg, run_dir / "config.yaml", resolve=True)
        seed_everything(cfg.seed)
        job(Run(cfg, run_dir, Stopwatch(run_dir)))
    except UserError as error:
        logging.getLogger("anyo").error("error: %s", error)
        sys.exit(2)


def _start_log(path: Path, level: str) -> None:
    """Sends log lines to the terminal as they are, and to `path` with time, level and origin."""
    terminal, file = logging.StreamHandler(sys.stderr), logging.FileHandler(path, encoding="utf-8")
    terminal.setFormatter(logging.Formatter("%(message)s"))
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[terminal, file], force=True)
    logging.captureWarnings(True)
    quiet_libraries()
