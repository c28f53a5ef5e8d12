"""Several processes that serve one address: uvicorn's, which begins another where one has died."""

import logging
import signal
from collections.abc import Callable
from socket import socket

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors import Multiprocess

from ...core.errors import UserError

log = logging.getLogger(__name__)


class Processes(Multiprocess):
    """Starts and watches processes until SIGTERM or Ctrl-C; each answers what it was asked before it ends.

    Args:
        config: Of each; its application is made in the process itself.
        sockets: On which they listen.
        later: Makes the application in processes that begin once one has answered.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket], later: Callable[[], object]) -> None:
        super().__init__(config, sockets)
        self.later = later
        self.ended_by: int | None = None

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
        """Begins another process for each that died or no longer answers."""
        if self.config.app is not self.later and any(
            each.process.is_alive() and each.is_ready(self.config.timeout_worker_healthcheck) for each in self.processes
        ):
            self.config.app = self.later
        before = [each.pid for each in self.processes]
        super().keep_subprocess_alive()
        for gone in set(before) - {each.pid for each in self.processes}:
            mark_process_dead(gone)  # what it answered stays counted, what waited in it does not wait any more
            log.warning("process %d ended and was begun again", gone)
