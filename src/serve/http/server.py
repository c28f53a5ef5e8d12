"""The process that serves."""

import gc
import logging
import os
import sys
from pathlib import Path

import uvicorn

from ..events import Events
from ..files import newest_served
from ..recommender import Recommender
from ..settings import ServerSettings, ServeSettings
from .app import create_app
from .current import CurrentModel

API_KEY = "ANYO_API_KEY"  # in the environment: what stands in a config is written to the run's folder

log = logging.getLogger(__name__)


def serve_http(serve: ServeSettings, server: ServerSettings, served_dir: Path) -> None:
    """Serves until SIGTERM or Ctrl-C; requests that have come are answered before it ends.

    Args:
        serve, server: See the settings.
        served_dir: Where served models lie.

    Raises:
        UserError: There is no model, or no database for events.
    """
    current = CurrentModel(lambda: serve.model or newest_served(served_dir), serve.threads)
    others = [Recommender.load(folder, serve.threads) for folder in server.beside]
    beside = {each.files.name: each for each in others}
    events = None if server.events is None else Events(server.events)
    app = create_app(current, beside, serve, server, events, os.environ.get(API_KEY) or None)
    sys.setswitchinterval(0.0005)  # the ranking thread and the one that reads requests take turns: 5 ms would be felt
    gc.collect()
    gc.freeze()  # what a model and the libraries are made of stays: no pause to look at it again
    files = current.recommender.files
    log.info(
        "serving %s, version %s, on http://%s:%d (docs: /docs)", files.name, files.version, server.host, server.port
    )
    uvicorn.run(
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
