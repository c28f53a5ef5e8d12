"""One plain log and one stopwatch per run."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .artefact import write_json
from .git_info import environment, git_info

log = logging.getLogger(__name__)

# Lightning prints hardware lines, tips and "`Trainer.fit` stopped" at INFO; ours say the same in the user's words.
NOISY = (
    "lightning.pytorch",
    "lightning.fabric",
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.accelerators.cuda",
)


def quiet_libraries() -> None:
    """Lets libraries speak only when something is wrong."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning calls an old name of PyTorch's; nothing that a user could mend
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
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
