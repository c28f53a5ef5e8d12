"""What a browser is sent as the page; what it makes of it: `test_page_in_browser.py`."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from src.serve.http.pages import FILES
from tests.serve.http.films import app_of, models_in


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> FastAPI:
    return app_of(models_in(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def client(app) -> TestClient:
    return TestClient(app)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
def test_each_file_is_sent_as_what_it_is_and_may_load_nothing_from_elsewhere(client, address, kind):
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["content-security-policy"].split("; ")[0] == "default-src 'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.head(address).headers["content-length"] == str(len(answer.content))
    assert not re.search("https?:", answer.text.replace('xmlns="http://www.w3.org/2000/svg"', ""))


def test_the_page_names_every_file_and_no_other_relative_to_itself(client):
    named = re.findall(r'(?:src|href)="([^"]*)"', client.get("/").text)
    assert {f"/{name}" for name in named} == FILES.keys() - {"/"}


def test_the_script_makes_no_markup_of_a_text_and_stores_nothing(client):
    script = client.get("/page.js").text
    assert "textContent" in script
    assert not re.search(r"(inner|outer|insertAdjacent)HTML|document\.write|eval\(|Function\(|Storage|cookie", script)


def test_nothing_else_of_the_folder_is_served_and_the_interface_does_not_tell_of_the_page(app, client):
    for address in ("/__init__.py", "/page/__init__.py", "/page/", "/index.html"):
        assert client.get(address).status_code == 404
    assert not FILES.keys() & app.openapi()["paths"].keys()


def test_a_browser_gets_the_page_without_a_key_and_however_often_but_no_answer(tmp_path):
    client = TestClient(app_of(models_in(tmp_path), api_key="secret", requests_per_second=1.0))
    assert [client.get(address).status_code for address in [*FILES, *FILES]] == [200] * 8
    assert client.get("/models").status_code == 401
