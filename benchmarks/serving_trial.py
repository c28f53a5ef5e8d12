"""Whether the service stays right and forgets nothing while it is loaded, its model replaced and its processes killed.

    python -m benchmarks.serving_trial --models data/served/<dataset>/<model> data/served/<dataset>/<another>

Several processes serve two models of one kind and dataset in turn: every few seconds the other one becomes the newest,
sometimes a damaged copy does, and every few seconds a process is killed (SIGKILL). Meanwhile clients ask what was asked
of both models beforehand, and hold each answer against that of the model which it names; others store events and ask
at once for that user, who must not be recommended what he has just taken. At the end every acknowledged event must be
stored. A connection that is lost with a process is no wrong answer; it is counted.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from src.core.artefact import MANIFEST, read_manifest
from src.core.paths import ROOT
from src.serve.events import Events
from src.serve.files import GRAPH, ServedFiles
from src.serve.recommender import Query, Recommender

from .serving import children_of, post
from .side_by_side import markdown, parser, report

ASKED = 500  # histories
K = 10
NEAR = 1e-4  # scores as near as that may change places
CLIENTS, WITH_EVENTS = 6, 2
SWAP, KILL = (3.0, 8.0), (8.0, 20.0)  # seconds between two, drawn evenly
DAMAGED = 0.25  # of the models that become the newest


@dataclass
class Found:
    """What has happened so far."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main(arguments: argparse.Namespace) -> None:
    random.seed(0)
    minutes = 0.25 if arguments.quick else arguments.minutes
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(trial([each.resolve() for each in arguments.models], Path(name), minutes, arguments))
    for each in found.wrong[:10]:
        print(each, file=sys.stderr)
    arguments.models = [each.name for each in arguments.models]
    p50, p99, longest = 1000 * np.percentile(found.seconds, [50, 99, 100])
    rows = [[what, f"{count:,}"] for what, count in found.counts.items()]
    rows += [["wrong answers", len(found.wrong)], ["p50 / p99 / longest", f"{p50:.1f} / {p99:.1f} / {longest:.0f} ms"]]
    report("serving_trial", arguments, markdown([f"{minutes:g} minutes", ""], rows), rows=rows)
    if found.wrong or found.counts["events lost"]:
        sys.exit(1)


async def trial(models: list[Path], folder: Path, minutes: float, arguments: argparse.Namespace) -> Found:
    recommenders = [Recommender.load(each) for each in models]
    asked, expected = questions(recommenders)
    dataset, served = recommenders[0].files.dataset, folder / "served"
    copies = [shutil.copytree(each, served / dataset / each.name) for each in models]
    database, found = f"sqlite:///{folder / 'events.db'}", Found()
    found.counts.update(dict.fromkeys(("answers", "connections lost", "not answered (503)", "events stored"), 0))
    kind = "distilled" if read_manifest(models[0])["student_is_distilled"] else "baseline"
    overrides = {
        "dataset.name": dataset,
        "paths.served_dir": served,
        "serve.student": kind,
        "server.port": arguments.port,
        "server.processes": arguments.processes,
        "server.events": database,
        "server.reload_seconds": 1.0,
        "hydra.run.dir": folder / "run",
    }
    command = [sys.executable, "-m", "src.exp.run_serve", *(f"{key}={value}" for key, value in overrides.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        await until_ready(arguments.port, process)
        end = time.monotonic() + 60 * minutes
        work: list[Awaitable[None]] = [
            *(client(arguments.port, asked, expected, found, end) for _ in range(CLIENTS)),
            *(with_events(arguments.port, place, recommenders[0].files, found, end) for place in range(WITH_EVENTS)),
            every(SWAP, end, lambda: swap(copies, found)),
            every(KILL, end, lambda: kill(process.pid, found)),
        ]
        await asyncio.gather(*work)
    finally:
        process.terminate()
        process.wait()
    told = (folder / "log").read_text()
    found.counts["taken over (of all processes)"] = len(re.findall(": taken over:", told))
    found.counts["damaged and refused (of all processes)"] = len(re.findall(": refused, ", told))
    if "Traceback" in told:
        found.wrong.append(f"the service's log has a traceback:\n{told[-4000:]}")
    events = Events(database)
    stored = Counter((each.user, each.item) for each in events.all())
    events.close()
    found.counts["events lost"] = (Counter(found.acknowledged) - stored).total()
    return found


def questions(recommenders: list[Recommender]) -> tuple[list[list[str]], dict[str, list[list[tuple[str, float]]]]]:
    """Returns histories as raw ids, and by each model's version what it recommends after each."""
    draw = np.random.default_rng(0)
    files = recommenders[0].files
    asked = [
        [files.raw_ids[item] for item in draw.integers(0, files.num_items, draw.integers(1, 30))] for _ in range(ASKED)
    ]
    expected = {}
    for each in recommenders:
        numbers = [each.numbers(history, skip=False) for history in asked]
        rankings = each.rank([Query(history, history, k=K) for history in numbers])
        told = [[(item.raw_id, item.score) for item in each.told(ranking).items] for ranking in rankings]
        expected[each.files.version] = told
    return asked, expected


async def client(port: int, asked: list[list[str]], expected: dict[str, Any], found: Found, end: float) -> None:
    """Asks one question after the other, and looks at every answer."""
    connection = Connection(port, found)
    while time.monotonic() < end:
        place = random.randrange(len(asked))
        answer = await connection.post("/recommend", {"history": asked[place], "k": K})
        if answer is None:
            continue
        right = expected.get(answer["version"])
        got = [(each["item"], each["score"]) for each in answer["items"]]
        if right is None or not same(got, right[place]):
            found.wrong.append(f"{answer['model']} {answer['version']} after {asked[place]}: {got}, not {right}")


def same(got: list[tuple[str, float]], right: list[tuple[str, float]]) -> bool:
    """Whether a list is the right one, but for items whose scores are as near as `NEAR`."""
    scores = dict(right)
    return len(got) == len(right) and all(
        abs(score - other) < NEAR and abs(scores.get(item, other) - score) < NEAR
        for (item, score), (_, other) in zip(got, right, strict=True)
    )


async def with_events(port: int, who: int, files: ServedFiles, found: Found, end: float) -> None:
    """Stores events of users who are new, and asks for each user at once."""
    connection, n = Connection(port, found), 0
    while time.monotonic() < end:
        user, item = f"new {who} {n}", random.choice(files.raw_ids)
        n += 1
        answer = await connection.post("/events", {"events": [{"user": user, "item": item}]})
        if answer is None:
            continue
        found.acknowledged.append((user, item))
        found.counts["events stored"] += 1
        answer = await connection.post("/recommend", {"user": user, "k": K})
        if answer is not None and (answer["by"] != "model" or item in {each["item"] for each in answer["items"]}):
            found.wrong.append(f"{user} took {item}, and that is not known to his next request: {answer}")


class Connection:
    """A connection that is kept open, and opened again where it is lost."""

    def __init__(self, port: int, found: Found) -> None:
        self.port, self.found = port, found
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, posted: Any) -> Any:
        """Returns the answer's JSON; None where it was lost or refused for load, which is counted."""
        start = time.perf_counter()
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self.streams
            writer.write(post(path, posted))
            told = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"content-length: (\d+)", told)
            assert length is not None, told
            content = await reader.readexactly(int(length[1]))
        except (OSError, asyncio.IncompleteReadError):
            self.streams = None
            self.found.counts["connections lost"] += 1
            await asyncio.sleep(0.05)
            return None
        self.found.seconds.append(time.perf_counter() - start)
        status = int(told.split(maxsplit=2)[1])
        if status == 503:
            self.found.counts["not answered (503)"] += 1
            return None
        if status != 200:
            self.found.wrong.append(f"{path} {posted}: status {status}, {content!r}")
            return None
        self.found.counts["answers"] += 1
        return json.loads(content)


async def every(between: tuple[float, float], end: float, act: Callable[[], None]) -> None:
    while True:
        pause = random.uniform(*between)
        if time.monotonic() + pause > end:
            return
        await asyncio.sleep(pause)
        act()


def swap(copies: list[Path], found: Found) -> None:
    """Makes one of the models the newest, or a copy with a byte of its graph flipped."""
    folder = random.choice(copies)
    if random.random() >= DAMAGED:
        os.utime(folder / MANIFEST)
        found.counts["models made the newest"] += 1
        return
    damaged = folder.with_name("damaged")
    shutil.rmtree(damaged, ignore_errors=True)
    copy = shutil.copytree(folder, folder.with_name(".being-damaged"))
    content = bytearray((copy / GRAPH).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (copy / GRAPH).write_bytes(content)
    os.utime(copy / MANIFEST)
    copy.rename(damaged)
    found.counts["damaged models made the newest"] += 1


def kill(parent: int, found: Found) -> None:
    """Kills one of the processes that answer."""
    serving = [each for each in children_of(parent) if "spawn_main" in Path(f"/proc/{each}/cmdline").read_text()]
    if serving:
        os.kill(random.choice(serving), signal.SIGKILL)
        found.counts["processes killed"] += 1


async def until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ready HTTP/1.1\r\nhost: anyo\r\n\r\n")
            if (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"):
                return
        except (OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.2)
    raise RuntimeError(f"the service ended with status {process.returncode}")


if __name__ == "__main__":
    own = parser(__doc__)
    own.add_argument("--models", type=Path, nargs=2, required=True, help="folders of two served models of one kind")
    own.add_argument("--minutes", type=float, default=10.0)
    own.add_argument("--processes", type=int, default=2)
    own.add_argument("--port", type=int, default=8198)
    main(own.parse_args())
