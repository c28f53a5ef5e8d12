"""What runs inside a process that is measured: the standard library alone, so that it runs in every environment.

The process tells one line of JSON on its standard output when all is ready (its facts), and one more each time a line
arrives on its standard input (a measurement). Whatever else it prints goes to standard error.
"""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# The same loop for everyone who trains through Lightning: no validation, no files, no bars.
TRAINER = {
    "max_epochs": 1000,  # more than anyone gets to
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "limit_val_batches": 0,
    "devices": 1,
}


class Line:
    """The line to the process that asks. The command's only argument is a JSON object of settings."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = json.loads(sys.argv.pop())
        self.out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def tell(self, what: dict[str, Any]) -> None:
        print(json.dumps(what), file=self.out, flush=True)

    def wait(self) -> None:
        """Returns when the next measurement is asked for; ends the process when no more will be."""
        if not sys.stdin.readline():
            raise SystemExit

    def serve(self, facts: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
        """Tells `facts`, then a measurement each time one is asked for."""
        self.tell(facts)
        while True:
            self.wait()
            self.tell(measure())


class Clock:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self.start, self.used = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self.start, "processor": time.process_time() - self.used}


def fastest(sizes: list[int], measure: Callable[[int], dict[str, Any]]) -> int:
    """Returns the batch size that takes the least processor time, each tried once when all is warm."""
    measure(sizes[0])
    return min(sizes, key=lambda size: measure(size)["processor"])


class StepClock:
    """Times runs of training steps inside somebody's loop, which stands still between them.

    Args:
        line: Where the times go, and where the settings `warm_up` and `steps` come from.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.left = line.settings["warm_up"]
        self.count = self.start = None

    def step_done(self, facts: Callable[[], dict[str, Any]], examples: int = 0) -> None:
        """To be called at the end of each optimiser step.

        Args:
            facts: Called once, when the process is warm.
            examples: Targets that this step learned from.
        """
        self.left -= 1
        if self.count is not None:
            self.count += examples
        if self.left > 0:
            return
        finish_on_device()
        now = time.perf_counter()
        self.line.tell(facts() if self.start is None else {"seconds": now - self.start, "examples": self.count})
        self.line.wait()
        self.left, self.count, self.start = self.line.settings["steps"], 0, time.perf_counter()


def finish_on_device() -> None:
    """Waits until a GPU has done what it was told, where there is one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()


def stepping(lightning: ModuleType, clock: StepClock, examples: Callable[[Any], int] = lambda batch: 0) -> Any:
    """Returns a callback that tells `clock` of each step.

    Args:
        lightning: `lightning` or `pytorch_lightning`, whichever the training module belongs to.
        clock: Times the steps.
        examples: Targets in a batch.
    """

    class Stepping(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            clock.step_done(lambda: {"parameters": num_parameters(module)}, examples(batch))

    return Stepping()


def num_parameters(module: Any) -> int:
    """Returns how many numbers `module` learns."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def reset_peak() -> int:
    """Forgets the peak of resident memory and returns what is resident now, in bytes. Linux with glibc only.

    What was freed is handed back first: kept for the next tensor, as `keep_freed_memory` has it, it would count as
    resident before, and its use as none.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(key: str) -> int:
    """Returns a figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
