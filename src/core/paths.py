"""Where things lie: the project's root, and the OmegaConf resolvers that `conf/paths/default.yaml` is written with."""

from pathlib import Path

from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[2]
CONF_DIR = ROOT / "conf"

# Hydra changes into the run directory before it calls us; relative paths on the command line mean this folder.
_START_DIR = Path.cwd()


def absolute(path: str | None) -> str | None:
    """Returns `path` as seen from the folder the program was started in; None stays None."""
    return None if path is None else str(_START_DIR / Path(path).expanduser())


OmegaConf.register_new_resolver("project_root", lambda: str(ROOT), replace=True)
OmegaConf.register_new_resolver("absolute", absolute, replace=True)
