"""What the HTTP service answers in, and how much: latency at a steady rate, throughput, start, memory.

    python -m benchmarks.serving --model data/served/<dataset>/<model> [--events]

Starts the service as a user does, with the clients on the same machine. Latency: one request after the other at fixed
times (an open loop: a late answer delays no later request), over kept connections, each for another user of the log, 10
items, items seen left out. Throughput: `wrk` (Debian: apt-get install wrk) with as many connections as are named. "The
graph alone": one history in onnxruntime, without the service around it.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from src.core.paths import ROOT
from src.serve.files import ServedFiles
from src.serve.recommender import Query, Recommender

from .side_by_side import markdown, parser, report

CONNECTIONS = 4  # kept open by the client that sends at a steady rate


def main(arguments: argparse.Namespace) -> None:
    if shutil.which("wrk") is None:
        sys.exit("benchmarks.serving needs wrk on the path (Debian: apt-get install wrk).")
    files = ServedFiles.load(arguments.model)
    seconds = 1.0 if arguments.quick else arguments.seconds
    with (
        tempfile.TemporaryDirectory() as name,
        Service(arguments.model, arguments.port, arguments.events, arguments.processes, Path(name)) as service,
    ):
        rows = [["start to ready", f"{service.seconds_to_ready:.2f} s"], ["memory at rest", service.memory()]]
        users = files.raw_user_ids
        asyncio.run(at_rate(arguments.port, users, 100, 1.0))  # everything once
        for rate in arguments.rates:
            taken = asyncio.run(at_rate(arguments.port, users, rate, seconds))
            told = " / ".join(f"{1000 * np.percentile(taken, each):.2f}" for each in (50, 99, 99.9))
            rows.append([f"{rate:,} requests/s: p50 / p99 / p99.9", f"{told} ms"])
        for connections in arguments.connections:
            told = throughput(arguments.port, users, connections, seconds, Path(name))
            rows.append([f"{connections} connections, as many as it answers: requests/s, p99", told])
        rows.append(["memory after that", service.memory()])
    for told, pause in (("", 0.0), (", 100 a second", 0.01)):
        rows.append([f"the graph alone, one history{told}", f"{1e6 * graph_alone(files, pause):.0f} µs"])
    table = markdown([f"{files.num_items:,} items, {files.name.partition('-')[0]}", ""], rows)
    report("serving", arguments, table, rows=rows)


class Service:
    """`run_serve` as a process."""

    def __init__(self, model: Path, port: int, events: bool, processes: int, folder: Path) -> None:
        self.port = port
        overrides = [f"serve.model={model.absolute()}", f"server.port={port}", f"hydra.run.dir={folder / 'run'}"]
        overrides.append(f"server.processes={processes}")
        if events:
            overrides.append(f"server.events=sqlite:///{folder / 'events.db'}")
        self.command = [sys.executable, "-m", "src.exp.run_serve", *overrides]

    def __enter__(self) -> "Service":
        start = time.perf_counter()
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self._is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{' '.join(self.command)} ended with status {self.process.returncode}")
            time.sleep(0.005)
        self.seconds_to_ready = time.perf_counter() - start
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def memory(self) -> str:
        """Returns what all its processes hold."""
        kib = 0
        for each in (self.process.pid, *children_of(self.process.pid)):
            status = Path(f"/proc/{each}/status").read_text()
            (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
            kib += int(line.split()[1])
        return f"{kib / 1024:.0f} MiB"

    def _is_ready(self) -> bool:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready").status == 200
        except OSError:
            return False


def children_of(pid: int) -> list[int]:
    """Returns the processes that a process has begun."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def at_rate(port: int, users: list[str], rate: int, seconds: float) -> np.ndarray:
    """Returns the seconds from when each request was due to its whole answer, `[rate * seconds]`."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(max(CONNECTIONS, rate // 50)):
        idle.put_nowait(await Connection.to(port))
    taken: list[float] = []

    async def one(due: float, user: str) -> None:
        connection = await idle.get()
        await connection.ask(user)
        idle.put_nowait(connection)
        taken.append(time.perf_counter() - due)

    start, tasks = time.perf_counter() + 0.05, []
    for place in range(int(rate * seconds)):
        due = start + place / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(max(due, time.perf_counter()), users[place % len(users)])))
    await asyncio.gather(*tasks)
    while not idle.empty():
        idle.get_nowait().writer.close()
    return np.array(taken)


class Connection:
    """A connection that is kept open, and speaks as little HTTP as there is: the client shares the machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, user: str) -> None:
        self.writer.write(post("/recommend", {"user": user, "k": 10}))
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the service answered {head.splitlines()[0].decode()}")
        (length,) = (line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        await self.reader.readexactly(int(length.split(b":")[1]))


def post(path: str, posted: Any) -> bytes:
    """Returns a request as it goes over the wire."""
    body = json.dumps(posted).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: anyo\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def throughput(port: int, users: list[str], connections: int, seconds: float, folder: Path) -> str:
    """Returns requests per second and the 99th percentile of their time, as `wrk` tells them."""
    script = folder / "ask.lua"
    bodies = ",".join(json.dumps(json.dumps({"user": user, "k": 10})) for user in users[:2000])
    script.write_text(
        "wrk.method='POST'; wrk.headers['Content-Type']='application/json'\n"
        f"local bodies={{{bodies}}}; local n=0\n"
        "request=function() n=n%#bodies+1; return wrk.format(nil,nil,nil,bodies[n]) end\n"
        "done=function(summary,latency,requests)\n"
        "  local e=summary.errors\n"
        "  print('TOLD '..summary.requests/summary.duration*1e6 ..' '..latency:percentile(99)/1000 ..' '"
        "..e.status+e.connect+e.read+e.write+e.timeout)\nend\n"
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/recommend"], check=True, capture_output=True, text=True
    ).stdout
    rate, late, wrong = next(line for line in said.splitlines() if line.startswith("TOLD")).split()[1:]
    if wrong != "0":
        raise RuntimeError(f"{wrong} requests were not answered")
    return f"{float(rate):,.0f}, {float(late):.1f} ms"


def graph_alone(files: ServedFiles, pause: float) -> float:
    """Returns seconds for the best ten items after one history, median; `pause` seconds of sleep before each."""
    recommender, taken = Recommender(files), []
    for place in range(300):
        user = place % (len(files.offsets) - 1)
        history = files.item_log[files.offsets[user] : files.offsets[user + 1]].tolist()
        query: Any = [Query(history, history)]
        time.sleep(pause)
        start = time.perf_counter()
        recommender.rank(query)
        taken.append(time.perf_counter() - start)
    return median(taken)


if __name__ == "__main__":
    own = parser(__doc__)
    own.add_argument("--model", type=Path, required=True, help="folder of a served model")
    own.add_argument("--port", type=int, default=8199)
    own.add_argument("--events", action="store_true", help="with a store of events, which each request asks")
    own.add_argument("--processes", type=int, default=1)
    own.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    own.add_argument("--rates", type=int, nargs="+", default=[100, 500])
    own.add_argument("--connections", type=int, nargs="+", default=[8, 32])
    main(own.parse_args())
