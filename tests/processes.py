"""Child processes that know all that the parent has imported, and can be killed."""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from src.core.paths import ROOT
from src.exp.program.run import ended_by_signals
from src.training.started import place


def child(job: Callable[[], None]) -> Callable[[signal.Signals | None], int]:
    """Starts `job` in a process of its own, as the program starts its jobs; returns what sends it a signal, if any,
    waits for its end, and returns its status (minus the signal's number where that killed it).
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            torch.set_num_threads(1)  # threads of the parent are not there any more
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            with ended_by_signals():
                job()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def end(number: signal.Signals | None) -> int:
        if number is not None:
            os.kill(pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return end


def together(job: Callable[[], None], processes: int = 2) -> list[int]:
    """Runs `job` in several processes at once, each told what torchrun would tell it; returns their statuses."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def as_told(rank: int) -> None:
        os.environ.update(_told_by_torchrun(store, rank, processes))
        job()

    ends = [child(partial(as_told, rank)) for rank in range(processes)]
    return [end(None) for end in ends]


def command_together(module: str, arguments: list[str], processes: int) -> list[int]:
    """Runs a command in several processes at once, as `together` does a job, but each from its begin: Polars, whose
    threads a copied process does not have, would wait for them for ever.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told = [_told_by_torchrun(store, rank, processes) if processes > 1 else {} for rank in range(processes)]
    alike = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, env=alike | each, stdout=subprocess.DEVNULL
        )
        for each in told
    ]
    return [each.wait(timeout=600) for each in started]


def _told_by_torchrun(store: TCPStore, rank: int, processes: int) -> dict[str, str]:
    told: dict[str, Any] = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "RANK": rank, "LOCAL_RANK": rank}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": True}
    told |= {"TORCHELASTIC_RESTART_COUNT": 0, "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": 0}
    return {name: str(value) for name, value in (told | {"TORCH_CPP_LOG_LEVEL": "ERROR"}).items()}


def leave(folder: Path, found: Any) -> None:
    """Leaves in `folder` what one of several processes has found, as JSON has it."""
    (folder / f"{place()}.json").write_text(json.dumps(found))


def told(folder: Path, processes: int = 2) -> list[Any]:
    """Returns what they left."""
    return [json.loads((folder / f"{each}.json").read_text()) for each in range(processes)]
