"""One plain log and one stopwatch per run."""

import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .artefact import write_json
from .git_info import command_typed, environment, git_info

log = logging.getLogger(__name__)

# Lightning prints hardware lines, tips and "`Trainer.fit` stopped" at INFO; ours say the same in the user's words.
# Clients of HTTP write a line for every request, and below INFO what it says.
NOISY = (
    "lightning.pytorch",
    "lightning.fabric",
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.accelerators.cuda",
    "openai",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
)


APART = ("transformers", "optuna")  # print what they have to say themselves


class _Terminal(logging.StreamHandler):
    """Writes to what is the terminal at that time: above a progress bar, which takes its place for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _is_of_others(record: logging.LogRecord) -> bool:
    """Whether a record comes from no library that prints by itself. Such a library may pass its records on none the
    less (Transformers does where the variable `CI` is set).
    """
    return record.name.partition(".")[0] not in APART


class _OfOthers(logging.Handler):
    """Passes on what `_is_of_others`: the handler itself is also given the rest, by another way."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self.handler = handler
        self.addFilter(_is_of_others)

    def emit(self, record: logging.LogRecord) -> None:
        self.handler.handle(record)

    def close(self) -> None:
        self.handler.close()
        super().close()


class RunLog:
    """Sends log lines and warnings to the terminal as they are, and to a file with time, level and origin. The file
    alone explains a run: it begins with command, code and machine.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        terminal, self.file = _Terminal(), logging.FileHandler(path, encoding="utf-8")
        terminal.setFormatter(logging.Formatter("%(message)s"))
        self.file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level="INFO", handlers=[terminal, _OfOthers(self.file)], force=True)
        terminal.addFilter(_is_of_others)
        for name in APART:  # beside the handlers that they make for themselves when they are imported
            logging.getLogger(name).handlers = [self.file]
        logging.captureWarnings(True)
        self.note(f"Command: {command_typed()}")
        about = environment()
        if about["machine"]["gpus"] is None:  # not asked for yet: manifests and time.json tell them
            del about["machine"]["gpus"]
        for what, found in about.items():
            self.note(f"{what}: {json.dumps(found, ensure_ascii=False)}")

    def note(self, text: str, with_traceback: bool = False) -> None:
        """Writes a line into the file alone, and below it, where asked, the exception that is being handled."""
        error = sys.exc_info() if with_traceback else None
        level = logging.ERROR if with_traceback else logging.INFO
        self.file.handle(logging.LogRecord("anyo", level, __file__, 0, text, None, error))


def quiet_libraries() -> None:
    """Lets libraries speak only when something is wrong."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning calls an old name of PyTorch's; nothing that a user could mend
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
    # of several processes: figures are of all of them already; a name that older versions of PyTorch have alone
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self.log\(.*sync_dist=True")
    warnings.filterwarnings("ignore", message=r"`broadcast_buffers` is deprecated")
    # frozen parts of a teacher are in evaluation mode on purpose
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")


class Stopwatch:
    """Times the named stages of a run and keeps `<run_dir>/metrics/time.json` up to date.

    The file is written after every stage, so a run that is cut short still tells how long its finished stages took.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "metrics" / "time.json"
        self.seconds: dict[str, float] = {}
        self.git = git_info()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the block as stage `name`, in seconds of wall-clock time."""
        log.info("── %s", name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"seconds": self.seconds, **environment(), "git": self.git})
