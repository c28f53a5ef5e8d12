"""The process that serves."""

import gc
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from socket import socket

import uvicorn

from ...core.errors import UserError
from ..events import Events
from ..files import newest_served
from ..lists import Lists
from ..recommender import Recommender
from ..settings import ServerSettings, ServeSettings
from .app import create_app
from .current import CurrentModel, working

API_KEY = "ANYO_API_KEY"  # in the environment: what stands in a config is written to the run's folder

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
    distilled = serve.student == "distilled"
    current = CurrentModel(lambda: serve.model or newest_served(served_dir, dataset, distilled), serve.threads)
    beside: dict[str, Recommender] = {}
    for folder in server.beside:
        other = working(folder, serve.threads)
        if other.files.name in {*beside, current.recommender.files.name}:
            raise UserError(f"server.beside names {folder}, but there is a model {other.files.name} already.")
        beside[other.files.name] = other
    lists: dict[str, Lists] = {}
    for path in server.lists:
        listed = Lists.read(path, current.recommender.files)
        if listed.name in {*lists, *beside, current.recommender.files.name}:
            raise UserError(f"server.lists names {path}, but {listed.name} answers already: give it another name.")
        lists[listed.name] = listed
    events = None if server.events is None else Events(server.events)
    app = create_app(current, beside, lists, serve, server, events, os.environ.get(API_KEY) or None)
    sys.setswitchinterval(0.0005)  # the ranking thread and the one that reads requests take turns: 5 ms would be felt
    gc.collect()
    gc.freeze()  # what a model and the libraries are made of stays: no pause to look at it again
    config = uvicorn.Config(
        app,
        host=server.host,
        port=server.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=4 * server.max_waiting,
        backlog=2048,
        timeout_graceful_shutdown=30,
        timeout_keep_alive=75,
    )
    with suppress(KeyboardInterrupt):  # how it is ended by hand
        _Server(config, current).run()


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
