"""Where things lie: the project's folder or the installed package, and the folder the program was started in."""

from pathlib import Path
from typing import TypeVar

PACKAGE = Path(__file__).resolve().parents[1]  # `src` in a checkout, `anyo` where it is installed
IN_CHECKOUT = (PACKAGE.parent / "conf").is_dir() and PACKAGE.name == "src"
CONF_DIR = PACKAGE.parent / "conf" if IN_CHECKOUT else PACKAGE / "conf"

# Hydra changes into the run directory before it calls us; relative paths that a user types mean this folder.
_START_DIR = Path.cwd()

# Data and results: in the checkout, else where the program was started.
ROOT = PACKAGE.parent if IN_CHECKOUT else _START_DIR

Typed = TypeVar("Typed", str, None)


def absolute(path: Typed) -> Typed:
    """Returns `path` as seen from the folder the program was started in; None stays None."""
    return None if path is None else str(_START_DIR / Path(path).expanduser())


def new_folder(path: str) -> str:
    """Makes the folder `path`, or where that is there already `path_2`, `path_3`, …; returns which. Whoever asks gets
    one of his own, however many ask at once.
    """
    folder, number = Path(path), 1
    while True:
        try:
            folder.mkdir(parents=True)
            return str(folder)
        except FileExistsError:
            number += 1
            folder = Path(f"{path}_{number}")


def command_line(command: str) -> str:
    """Returns what a user types to start an entry point of `exp`, "run_teacher" for example."""
    if IN_CHECKOUT:
        return f"poetry run python -m src.exp.{command}"
    return f"anyo {command.replace('_', '-')}"
