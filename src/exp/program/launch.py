"""Starts the program anew as several processes of this machine, by the launcher that torchrun is."""

import logging
import os
import signal
import sys
from pathlib import Path

from ...core.errors import UserError
from ...core.paths import absolute
from ...training.started import started_together

GIVEN_TO_END = 600  # seconds in which processes that are asked to end keep where they stand, before they are killed


def check_devices(devices: int) -> None:
    """Makes sure that every process has a device of its own, and that the config agrees with torchrun.

    Raises:
        UserError: It has not, or does not.
    """
    import torch

    here = int(os.environ["LOCAL_WORLD_SIZE"]) if started_together() > 1 else devices
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else here
    if devices not in (1, here):
        raise UserError(
            f"torchrun has started {here} processes on this machine and trainer.devices={devices} asks for others: say "
            "it to torchrun alone (--nproc-per-node)."
        )
    if here > gpus:
        raise UserError(f"{here} processes need a GPU each, and this machine has {gpus}: start as many as there are.")


def start_over_processes(module: str, devices: int, run_dir: Path) -> None:
    """Starts the command that is running `devices` times and returns when all of them are done.

    Args:
        module: The command's.
        devices: How many processes, 2 at least.
        run_dir: That of this start, which becomes theirs.

    Raises:
        UserError: One of them was killed, or the command is one of several (`-m`).
        SystemExit: They have ended otherwise, or were asked to end.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    if {"-m", "--multirun"} & set(sys.argv[1:]):
        raise UserError("Several runs (-m) over several processes: start them by torchrun, with trainer.devices=1.")
    os.chdir(absolute("."))  # where a user's relative paths begin
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GIVEN_TO_END))
    folder = str(run_dir).replace("\\", "\\\\").replace("'", "\\'")
    again = [*sys.argv[1:], f"hydra.run.dir='{folder}'"]
    logging.disable()  # what went wrong is said here, or by the processes themselves
    try:
        run(parse_args(["--standalone", "--nproc-per-node", str(devices), "-m", module, *again]))
        return
    except SignalException as ended:
        sys.exit(128 + ended.sigval)
    except ChildFailedError as error:
        failed = {place: failure.exitcode for place, failure in error.failures.items()}
    finally:
        logging.disable(logging.NOTSET)
    killed = {place: code for place, code in failed.items() if code < 0 and -code != signal.SIGTERM}
    if killed:
        place, code = next(iter(killed.items()))
        raise UserError(
            f"Process {place} of {devices} was killed ({signal.Signals(-code).name}), and all have ended: the same "
            "command goes on with what is there."
        )
    sys.exit(next((code for _, code in sorted(failed.items()) if code > 0), 1))  # the first one's before others'
