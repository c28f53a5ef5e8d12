"""What serves: one process, or several on one address."""

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from ...core.errors import UserError
from ..files import served_newest_first
from ..lists import Lists
from ..recommender import Recommender
from ..settings import ServerSettings, ServeSettings
from .app import create_app
from .current import CurrentModel, working
from .observation import FOLDER
from .processes import Processes

if TYPE_CHECKING:
    from ..events import Events

API_KEY = "ANYO_API_KEY"  # in the environment: what stands in a config is written to the run's folder

BEGUN = "begun"  # a file, once a process could begin: one that then cannot ends alone
PAUSE = 5.0  # seconds before a process that could not begin beside others is begun again

log = logging.getLogger(__name__)


def serve_http(serve: ServeSettings, server: ServerSettings, served_dir: Path, dataset: str) -> None:
    """Serves until SIGTERM or Ctrl-C; requests that have come are answered before it ends.

    Args:
        serve, server: See the settings.
        served_dir: Where served models lie.
        dataset: Whose are looked for.

    Raises:
        UserError: There is no model, a file of lists cannot be used, two have one name, or there is no database for
            events.
    """
    service = Service(serve, server, served_dir, dataset)
    if server.processes == 1:
        app, current = service.made()
        with suppress(KeyboardInterrupt):  # how it is ended by hand
            _Server(_config(app, server), current).run()
        return
    service.found()  # where there is no model, no process need be started to say so
    if (events := service.events()) is not None:  # nor where there is no database; its table is made once
        events.close()
    config = _config(service, server)
    with _counted_together(), config.bind_socket() as listening:
        log.info(
            "%d processes on http://%s:%d (docs: /docs)", server.processes, server.host, listening.getsockname()[1]
        )
        Processes(config, [listening]).serve()


@dataclass(frozen=True)
class Service:
    """All that a process has to know to serve. It is the factory of the application that uvicorn calls in each.

    serve, server, served_dir, dataset: See `serve_http`.
    """

    serve: ServeSettings
    server: ServerSettings
    served_dir: Path
    dataset: str

    def found(self) -> list[Path]:
        """Returns folders, at least one: of the model that should answer, then of earlier ones.

        Raises:
            UserError: There is none.
        """
        if self.serve.model is not None:
            return [self.serve.model]
        return served_newest_first(self.served_dir, self.dataset, self.serve.student == "distilled")

    def events(self) -> "Events | None":
        """Returns where events are kept; None: they are refused.

        Raises:
            UserError: There is no such database.
        """
        if self.server.events is None:
            return None
        from ..events import Events  # not imported where there is none: a database's toolkit takes a while

        return Events(self.server.events)

    def made(self) -> tuple[FastAPI, CurrentModel]:
        """Returns the application and the model that answers.

        Raises:
            UserError: See `serve_http`.
        """
        current = CurrentModel(lambda: self.found()[0], self.serve.threads, self.found)
        beside: dict[str, Recommender] = {}
        for folder in self.server.beside:
            other = working(folder, self.serve.threads)
            if other.files.name in {*beside, current.recommender.files.name}:
                raise UserError(f"server.beside names {folder}, but there is a model {other.files.name} already.")
            beside[other.files.name] = other
        lists: dict[str, Lists] = {}
        for path in self.server.lists:
            listed = Lists.read(path, current.recommender.files)
            if listed.name in {*lists, *beside, current.recommender.files.name}:
                raise UserError(f"server.lists names {path}, but {listed.name} answers already: give it another name.")
            lists[listed.name] = listed
        events = self.events()
        app = create_app(current, beside, lists, self.serve, self.server, events, os.environ.get(API_KEY) or None)
        sys.setswitchinterval(0.0005)  # the ranking thread and that which reads requests take turns: 5 ms would be felt
        gc.collect()
        gc.freeze()  # what a model and the libraries are made of stays: no pause to look at it again
        return app, current

    def __call__(self) -> FastAPI:
        """Returns the application, in a process of its own, which ends with its parent and tells on the terminal what
        happens to it.
        """
        begun = Path(os.environ[FOLDER]) / BEGUN
        threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()
        logging.basicConfig(level="INFO", format="process %(process)d: %(message)s", force=True)
        try:
            app, current = self.made()
        except UserError as error:
            log.error("error: %s", error)
            if not begun.exists():
                sys.exit(uvicorn.config.STARTUP_FAILURE)  # the others would fail in the same way: all end
            time.sleep(PAUSE)
            sys.exit(1)  # another is begun
        begun.touch()
        log.info("serving %s, version %s", current.recommender.files.name, current.recommender.files.version)
        return app


def _end_without(parent: int) -> None:
    """Ends this process once its parent has gone, killed: nobody would end it, and it would keep the address."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def _config(app: "FastAPI | Service", server: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=server.host,
        port=server.port,
        factory=isinstance(app, Service),
        workers=server.processes,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=4 * server.max_waiting,
        backlog=2048,
        timeout_graceful_shutdown=30,
        timeout_keep_alive=75,
    )


@contextmanager
def _counted_together() -> Iterator[None]:
    """Lets processes that are started within count in one place, so that any of them tells Prometheus of all."""
    with TemporaryDirectory(prefix="anyo-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


class _Server(uvicorn.Server):
    """Tells where it listens once it does: the port may be any that was free."""

    def __init__(self, config: uvicorn.Config, current: CurrentModel) -> None:
        super().__init__(config)
        self.current = current

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        files, port = self.current.recommender.files, self.servers[0].sockets[0].getsockname()[1]
        log.info(
            "serving %s, version %s, on http://%s:%d (docs: /docs)", files.name, files.version, self.config.host, port
        )
