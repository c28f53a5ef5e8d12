"""Child processes that know all that the parent has imported, and can be killed."""

import os
import signal
import traceback
from collections.abc import Callable

import torch

from src.exp.program.run import ended_by_sigterm


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
            with ended_by_sigterm():
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
