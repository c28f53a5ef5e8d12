"""A real process, as `run_serve` starts it: what it imports, how it ends, what it keeps."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from src.core.errors import UserError
from src.core.paths import ROOT
from src.serve.batch import recommend_to_file
from src.serve.events import Events
from src.serve.files import GRAPH
from src.serve.http.server import serve_http
from src.serve.settings import ServerSettings, ServeSettings
from tests.serve.served import broken, remade

slow = pytest.mark.slow


class Process:
    """A service that listens.

    Args:
        process: Of `run_serve`.
        log: What it writes to.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process, self.log, self.pid = process, log, process.pid
        while (found := re.search(r"on http://127\.0\.0\.1:(\d+)", self.told)) is None:
            assert process.poll() is None, self.told
            time.sleep(0.05)
        self.port = int(found[1])

    @property
    def told(self) -> str:
        return self.log.read_text()

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)


@contextmanager
def started(folder: Path, *overrides: str, **environment: str) -> Iterator[Process]:
    """Starts a service with a free port and all that it writes in `folder`; kills it where a test has not ended it."""
    arguments = [
        "server.port=0",
        f"hydra.run.dir={folder / 'run'}",
        f"paths.served_dir={folder / 'served'}",
        *overrides,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "src.exp.run_serve", *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Process(process, folder / "log")
    finally:
        process.kill()
        process.wait()


def half_a_request(service: Process, body: bytes) -> socket.socket:
    """Returns a connection on which the service has read the head of a request and waits for its body."""
    connection = service.connected()
    head = f"POST /recommend HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    return connection


def refuses_connections(service: Process) -> bool:
    try:
        service.connected().close()
    except ConnectionRefusedError:
        return True
    return False


@slow
def test_a_service_answers_without_pytorch_until_it_is_asked_to_end(sasrec_folder, recommender, tmp_path):
    database = f"sqlite:///{tmp_path / 'events.db'}"
    recommend_to_file(recommender, [user := recommender.files.raw_user_ids[0]], tmp_path / "teacher.csv", k=2)
    overrides = [f"serve.model={sasrec_folder}", f"server.events={database}", "server.timeout_seconds=60.0"]
    overrides.append(f"server.lists=[{tmp_path / 'teacher.csv'}]")
    with started(tmp_path, *overrides) as service, service.client() as client:
        assert client.get("/ready").json()["model"] == "sasrec-0123"
        assert len(client.post("/recommend", json={"history": ["10"], "k": 3}).json()["items"]) == 3
        assert client.post("/recommend", json={"user": user, "model": "teacher"}).json()["by"] == "precomputed"
        assert client.post("/events", json={"events": [{"user": "u", "item": "10"}]}).json()["stored"] == 1
        maps = Path(f"/proc/{service.pid}/maps").read_text()
        assert "onnxruntime" in maps and "torch" not in maps

        body = b'{"user": "u", "k": 2, "filter_seen": false}'
        connection = half_a_request(service, body)
        service.process.send_signal(signal.SIGTERM)
        while not refuses_connections(service):
            time.sleep(0.02)
        assert service.process.poll() is None
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.count(b'"item":') == 2
        assert service.process.wait(60) == 128 + signal.SIGTERM
        assert "Traceback" not in service.told and "error" not in service.told.lower()
    events = Events(database)
    assert events.of(["u"]) == {"u": ["10"]}
    events.close()


def until_ready(client: httpx.Client) -> None:
    """Waits for a service that listens before a model answers."""
    while True:
        with suppress(httpx.TransportError):
            if client.get("/ready").status_code == 200:
                return
        time.sleep(0.1)


def workers_of(service: Process) -> set[int]:
    return {int(found) for found in re.findall(r"process (\d+): serving sasrec-0123, version", service.told)}


@slow
def test_of_several_processes_one_may_die_and_any_tells_what_all_have_answered(sasrec_folder, tmp_path):
    with started(tmp_path, f"serve.model={sasrec_folder}", "server.processes=2") as service:
        with service.client() as client:
            until_ready(client)
        while len(workers_of(service)) < 2:
            time.sleep(0.1)
        first = min(workers_of(service))
        for _ in range(20):  # each on a connection of its own, which either may take
            with service.client() as client:
                assert len(client.post("/recommend", json={"history": ["10"], "k": 3}).json()["items"]) == 3
        os.kill(first, signal.SIGKILL)
        for _ in range(20):
            with service.client() as client, suppress(httpx.TransportError):  # what the killed one had accepted
                assert client.post("/recommend", json={"history": ["10"]}).status_code == 200
        while len(workers_of(service)) < 3:
            time.sleep(0.1)
        assert f"process {first} ended and was begun again" in service.told
        with service.client() as client:
            told = client.get("/metrics").text
        answered = re.search(r'anyo_answers_total\{path="/recommend",status="200"\} (\S+)', told)
        assert answered and 20 <= float(answered[1]) <= 40
        (answering,) = re.findall(r"^anyo_model_info\{.*\} (\S+)", told, re.MULTILINE)
        assert float(answering) == 2
        service.process.send_signal(signal.SIGHUP)  # all are replaced, one after the other
        while len(workers_of(service)) < 5:
            time.sleep(0.1)
        time.sleep(2.0)  # until the parent has looked again
        with service.client() as client:
            (answering,) = re.findall(r"^anyo_model_info\{.*\} (\S+)", client.get("/metrics").text, re.MULTILINE)
        assert float(answering) == 2
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 128 + signal.SIGTERM
        assert not any(Path(f"/proc/{each}").exists() for each in workers_of(service))
        assert "Traceback" not in service.told and "error" not in service.told.lower()


@slow
def test_processes_end_with_their_parent(sasrec_folder, tmp_path):
    with started(tmp_path, f"serve.model={sasrec_folder}", "server.processes=2") as service:
        while len(workers := workers_of(service)) < 2:
            time.sleep(0.1)
        service.process.kill()
        service.process.wait()
        while any(Path(f"/proc/{each}").exists() for each in workers):
            time.sleep(0.1)
        assert refuses_connections(service)


@slow
@pytest.mark.parametrize("named", [False, True])
def test_a_process_that_begins_again_beside_a_broken_model_ends_nobody(sasrec_folder, tmp_path, named):
    """By an earlier model that works, or, where one folder is named, once that is whole again."""
    place = tmp_path / "served" / "tiny"
    model = remade(sasrec_folder, place / "first")
    overrides = [f"serve.model={model}"] if named else ["dataset.name=tiny", "serve.student=baseline"]
    with started(tmp_path, *overrides, "server.processes=2", "server.reload_seconds=3600.0") as service:
        pattern = r"process (\d+): serving first, version"
        while len(begun := set(re.findall(pattern, service.told))) < 2:
            time.sleep(0.1)
        with service.client() as client:
            until_ready(client)
        whole = (model / GRAPH).read_bytes()
        broken(model if named else remade(sasrec_folder, place / "second"))
        os.kill(int(min(begun)), signal.SIGKILL)
        if named:
            while not re.search(r"process \d+: error: .*model\.onnx", service.told):
                time.sleep(0.1)
            (model / GRAPH).write_bytes(whole)
        while len(set(re.findall(pattern, service.told))) < 3:
            assert service.process.poll() is None
            time.sleep(0.1)
        with service.client() as client:
            assert client.post("/recommend", json={"history": ["10"]}).json()["model"] == "first"
        assert named or "refused, first answers in its place" in service.told
        assert "Traceback" not in service.told


@slow
def test_several_processes_end_where_none_can_begin(sasrec_folder, tmp_path):
    damaged = broken(remade(sasrec_folder, tmp_path / "damaged"))
    with started(tmp_path, f"serve.model={damaged}", "server.processes=2") as service:
        assert service.process.wait(120) == 2
        assert "error: A process could not begin to serve: the line above says why." in service.told
        assert re.search(r"process \d+: error: .*model\.onnx", service.told)
        assert "Traceback" not in service.told


@slow
def test_its_key_stands_in_the_environment_and_it_ends_by_hand_without_an_error(sasrec_folder, tmp_path):
    overrides = [f"serve.model={sasrec_folder}"]
    with started(tmp_path, *overrides, ANYO_API_KEY="secret") as service, service.client() as client:
        assert client.get("/items").status_code == 401
        assert client.get("/items", headers={"X-API-Key": "secret"}).status_code == 200
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(60) == 0
        assert "Traceback" not in service.told
    written = [path.read_text() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert written and not any("secret" in text for text in [service.told, *written])


@slow
def test_without_a_model_it_says_what_to_do(tmp_path):
    told = r"error: There is no served model of a distilled student below .*: make one with `run_export_onnx`"
    with pytest.raises(AssertionError, match=told), started(tmp_path):
        pass


def test_lists_are_refused_that_have_a_name_twice_or_are_none(sasrec_folder, recommender, tmp_path):
    paths = [tmp_path / "teacher.csv", tmp_path / "teacher.parquet", tmp_path / f"{sasrec_folder.name}.csv"]
    for path in paths:
        recommend_to_file(recommender, recommender.files.raw_user_ids[:1], path, k=1)
    for lists in (paths[:2], paths[2:]):
        told = rf"server\.lists names .*{lists[-1].name}, but {lists[-1].stem} answers already: give it another name"
        with pytest.raises(UserError, match=told):
            serve_http(ServeSettings(model=sasrec_folder), ServerSettings(lists=lists), tmp_path, "tiny")
    with pytest.raises(UserError, match=r"nowhere\.csv is no file of recommendations"):
        nowhere = ServerSettings(lists=[tmp_path / "nowhere.csv"])
        serve_http(ServeSettings(model=sasrec_folder), nowhere, tmp_path, "tiny")


def test_two_models_of_one_name_are_refused(sasrec_folder, caser_folder, tmp_path):
    again = remade(caser_folder, tmp_path / "again" / caser_folder.name)
    for beside in ([sasrec_folder], [caser_folder, again]):
        with pytest.raises(
            UserError, match=rf"server\.beside names .*, but there is a model {beside[-1].name} already"
        ):
            serve_http(ServeSettings(model=sasrec_folder), ServerSettings(beside=beside), tmp_path, "tiny")
