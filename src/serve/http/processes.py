"""Several processes that serve one address: uvicorn's, which begins another where one has died."""

import logging
import signal
import time
from socket import socket

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from ...core.errors import UserError

BEGINS, ANSWERS = 300.0, 30.0  # seconds after which a process hangs: that has not answered yet, and that has
GLANCE = 0.2  # seconds for an answer, each time that processes are looked at

log = logging.getLogger(__name__)


class Processes(Multiprocess):
    """Starts and watches processes until SIGTERM or Ctrl-C; each answers what it was asked before it ends.

    Args:
        config: Of each; its application is made in the process itself.
        sockets: On which they listen.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self.ended_by: int | None = None
        self._hangs_at: dict[int | None, float] = {}  # by process, put off with every answer
        self._counted: set[int] = set()  # processes that Prometheus is told of

    def serve(self) -> None:
        """Serves.

        Raises:
            UserError: A process could not begin.
            SystemExit: It was ended by SIGTERM.
        """
        self.run()
        if self.ended_by == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        if self.ended_by is None:
            raise UserError("A process could not begin to serve: the line above says why.")

    def handle_int(self) -> None:
        self.ended_by = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        self.ended_by = signal.SIGTERM
        super().handle_term()

    def keep_subprocess_alive(self) -> None:
        """Begins another process for each that died or hangs.

        uvicorn's own waits for the answer of one process after the other: as long as one that begins takes, or, where
        it dies meanwhile, as long as it would wait for any.
        """
        for place, process in enumerate(self.processes):
            if process.process.is_alive() and not self._hangs(process):
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
                return
            self._hangs_at.pop(process.pid, None)
            log.warning("process %s ended and was begun again", process.pid)
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()
        alive = {each.pid for each in self.processes if each.pid is not None}
        for gone in self._counted - alive:  # SIGHUP replaces processes, too
            mark_process_dead(gone)  # what it answered stays counted, what waited in it waits no more
        self._counted = alive

    def _hangs(self, process: Process) -> bool:
        now = time.monotonic()
        if process.is_ready(GLANCE):
            self._hangs_at[process.pid] = now + ANSWERS
        return now > self._hangs_at.setdefault(process.pid, now + BEGINS)
