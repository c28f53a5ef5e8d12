"""The page at `GET /`: what is sent, and what a browser makes of it with two small models behind it."""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import numpy as np
import polars as pl
import pytest
import uvicorn
from fastapi.testclient import TestClient

from src.serve.files import BIAS, USERS, ServedFiles
from src.serve.http.app import create_app
from src.serve.http.pages import FILES
from src.serve.recommender import Recommender
from src.serve.settings import ServerSettings, ServeSettings
from tests.browser import Browser, chromium

ATTACK = '<img src=x onerror="window.attacked=1">'
LONG = "Supercalifragilistic" * 12
TITLES = [
    "Heat (1995)", "Alien (1979)", "Aliens (1986)", ATTACK, LONG, "", "Ran (1985)", "Amélie \\ ½ & <b>", "فيلم (1990)",
    "羅生門 (1950)", "Solaris (1972)", "Stalker (1979)", "Mirror (1975)", "Ivan's Childhood (1962)", "Nostalghia (1983)",
]  # fmt: skip
ID_OF_ATTACK, ID_OF_LONG, WITHOUT_TITLE = "m4", "m5", "m6"


class Scores:
    """In the place of an ONNX file: an item's score is the sum of what each item of the history gives it.

    Args:
        gives: `[num_items + 1, num_items + 1]`, by item number; column 0 is -inf.
    """

    def __init__(self, gives: np.ndarray) -> None:
        self.gives = gives

    def best(
        self, history: np.ndarray, excluded: np.ndarray, k: int, bias: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = self.gives[history].sum(axis=1) + (0 if bias is None else bias)
        np.put_along_axis(scores, excluded, -np.inf, axis=1)
        items = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return items, np.take_along_axis(scores, items, axis=1)


class Model(Recommender):
    """A model that needs no file of onnxruntime."""

    def __init__(self, files: ServedFiles, graph: Scores) -> None:
        self.files, self.graph = files, graph


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Model]:
    """Two models of one log: user u1 has taken items 1, 4 and 5."""
    folder, n = tmp_path_factory.mktemp("models"), len(TITLES)
    pl.DataFrame({"raw_id": ["u1"]}).write_parquet(folder / USERS)
    np.save(folder / BIAS, np.array([-np.inf, *[0] * n], dtype=np.float32))
    found = []
    for seed, name in enumerate(["distilled-gru", "baseline-gru"]):
        gives = np.random.default_rng(seed).random((n + 1, n + 1))
        gives[0], gives[:, 0] = 0, -np.inf
        files = ServedFiles(
            folder=folder,
            version=f"{seed:016x}",
            name=name,
            dataset="films",
            distilled=not seed,
            history_length=4,
            raw_ids=[f"m{item}" for item in range(1, n + 1)],
            titles=TITLES,
            counts=np.arange(n + 1)[::-1] + 1,
            offsets=np.array([0, 3]),
            item_log=np.array([1, 4, 5]),
        )
        found.append(Model(files, Scores(gives)))
    return found


def app_of(models: Sequence[Model], api_key: str | None = None, **server):
    current, *beside = models
    return create_app(
        SimpleNamespace(recommender=current, look=lambda: None),
        {each.files.name: each for each in beside},
        ServeSettings(),
        ServerSettings(**server),
        api_key=api_key,
    )


@contextmanager
def served(app) -> Iterator[str]:
    """Serves an application on a free port of this machine, within a `with` block: its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


# --- what is sent


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
def test_each_file_is_sent_as_what_it_is_and_may_load_nothing_from_elsewhere(models, address, kind):
    client = TestClient(app_of(models))
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["content-security-policy"].split("; ")[0] == "default-src 'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.head(address).headers["content-length"] == str(len(answer.content))
    assert "//" not in re.sub(r'^//.*|\s//\s.*|xmlns="[^"]*"', "", answer.text, flags=re.MULTILINE)


def test_the_page_names_every_file_and_no_other(models):
    named = re.findall(r'(?:src|href)="([^"]*)"', TestClient(app_of(models)).get("/").text)
    assert {f"/{name}" for name in named} == FILES.keys() - {"/"}


def test_the_script_makes_no_markup_of_a_text(models):
    script = TestClient(app_of(models)).get("/page.js").text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function\(|localStorage", script)


def test_nothing_else_of_the_folder_is_served_and_the_interface_does_not_tell_of_it(models):
    app = app_of(models)
    client = TestClient(app)
    for address in ("/__init__.py", "/page/__init__.py", "/page/", "/index.html"):
        assert client.get(address).status_code == 404
    assert not FILES.keys() & app.openapi()["paths"].keys()


def test_a_browser_gets_the_page_without_a_key_and_however_often_but_no_answer(models):
    client = TestClient(app_of(models, api_key="secret", requests_per_second=1.0))
    assert [client.get(address).status_code for address in [*FILES, *FILES]] == [200] * 8
    assert client.get("/models").status_code == 401


# --- in a browser

in_a_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]
READY = '!document.getElementById("main").hidden'
ANSWERED = """(() => { const columns = [...document.querySelectorAll(".model")];
  return columns.every((one) => one.matches("[aria-busy=false]") && one.querySelector(".answer").children.length); })()"""
SHOWN = """[...document.querySelectorAll(".model")].map((column) => ({
  model: column.querySelector("h3").textContent,
  told: [...column.querySelectorAll(".answer > p")].map((one) => one.textContent),
  items: [...column.querySelectorAll("ol > li")].map((one) => [...one.children].map((part) => part.textContent)),
}))"""
PICKED = '[...document.querySelectorAll("#picked bdi")].map((one) => one.textContent)'
WIDER = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(chromium()) as found:
        yield found


@pytest.fixture(scope="module")
def address(models) -> Iterator[str]:
    with served(app_of(models)) as found:
        yield found


def opened(browser: Browser, address: str, width: int = 1280, dark: bool = False) -> None:
    browser.show(width, 800, dark=dark, phone=width < 500)
    browser.open(address)
    browser.until(READY)


def pick(browser: Browser, text: str) -> None:
    """Searches for a text and takes what is found first, by the keyboard alone."""
    browser.value('document.getElementById("search").focus()')
    picked = browser.value(f"{PICKED}.length")
    browser.type(text)
    browser.until('document.querySelector("#found [aria-selected=true]") && !document.getElementById("popup").hidden')
    browser.press("Enter")
    browser.until(f"{PICKED}.length === {picked + 1}")
    browser.until(ANSWERED)


def name_user(browser: Browser, user: str) -> None:
    browser.value('document.querySelector("[name=way][value=user]").click()')
    browser.value('document.getElementById("user").focus()')
    browser.type(user)
    browser.until(ANSWERED)


def expected(address: str, models: Sequence[Model], **who) -> list[list[list[str]]]:
    """What each model's column lists, by the service's own word and the titles of the catalogue."""
    title = dict(zip(models[0].files.raw_ids, TITLES, strict=True))
    found = []
    for model in models:
        asked = {**who, "model": model.files.name, "because": True, "k": 10}
        answer = httpx.post(f"{address}recommend", json=asked).json()
        assert answer["by"] == "model"
        column = []
        for each in answer["items"]:
            score = f"score {each['score']:.2f}"
            beside = f"id {each['item']} · {score}" if each["title"] else score
            because = "because of " + ", ".join(title[item] or item for item in each["because"])
            column.append([each["title"] or each["item"], beside, because])
        found.append(column)
    return found


@pytest.mark.parametrize("mark", [pytest.param(None, marks=in_a_browser)], ids=["page"])
def test_placeholder(mark):
    pass
