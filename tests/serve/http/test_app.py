"""The service as its clients see it; what it recommends is held against `Recommender`, which has tests of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from src.serve.answers import Answer
from src.serve.batch import recommend_to_file
from src.serve.events import Event, Events
from src.serve.files import newest_served
from src.serve.http import schemas
from src.serve.http.answering import joined
from src.serve.http.app import create_app
from src.serve.http.batching import Batcher
from src.serve.http.current import CurrentModel
from src.serve.lists import Lists
from src.serve.recommender import Recommender
from src.serve.settings import ServerSettings, ServeSettings
from tests.serve.http.films import served
from tests.serve.served import broken, remade

POSTED = {"/recommend": schemas.RecommendAnswer, "/batch": schemas.BatchAnswer, "/events": schemas.EventsAnswer}


def app_of(
    find: Path | Callable[[], Path],
    beside: dict[str, Recommender] | None = None,
    events: Events | None = None,
    api_key: str | None = None,
    serve: ServeSettings | None = None,
    lists: dict[str, Lists] | None = None,
    **server: Any,
) -> FastAPI:
    """Returns the service of a served model."""
    current = CurrentModel(find if callable(find) else lambda: find, threads=1)
    return create_app(
        current, beside or {}, lists or {}, serve or ServeSettings(), ServerSettings(**server), events, api_key
    )


@contextmanager
def service(find: Path | Callable[[], Path], *arguments: Any, **more: Any) -> Iterator[TestClient]:
    """Yields a client of `app_of(...)`, which has started, and ends it."""
    with TestClient(app_of(find, *arguments, **more), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(sasrec_folder) -> Iterator[TestClient]:
    """Of a service as it is shipped, which keeps nothing between two requests."""
    with service(sasrec_folder) as client:
        yield client


@pytest.fixture
def events(tmp_path) -> Events:
    return Events(f"sqlite:///{tmp_path / 'events.db'}")


@pytest.fixture
def other(sasrec_folder, tmp_path) -> Recommender:
    """Another model, which recommends item 8 first."""
    return Recommender.load(remade(sasrec_folder, tmp_path / "other", {8: 100.0}))


def ok(client: httpx.Client, path: str, posted: Any = None, kind: type[BaseModel] | None = None) -> Any:
    """Returns an answer, once it was found to be what the service's document says."""
    answer = client.get(path) if posted is None else client.post(path, json=posted)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    kind = kind or POSTED[path]
    kind.model_validate_json(answer.content, strict=True, extra="forbid")
    return answer.json()


def refused(client: httpx.Client, path: str, posted: Any = None) -> tuple[int, str]:
    """Returns the status and the one sentence that an answer holds."""
    answer = client.get(path) if posted is None else client.post(path, json=posted)
    assert list(answer.json()) == ["detail"] and "\n" not in answer.json()["detail"]
    return answer.status_code, answer.json()["detail"]


def ids(answer: dict[str, Any]) -> list[str]:
    return [each["item"] for each in answer["items"]]


def as_told(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"item": each.raw_id, "title": each.title, "score": pytest.approx(each.score, abs=1e-5), "because": None}
        for each in answer.items
    ]


def measured(client: httpx.Client) -> dict[str, float]:
    """Returns what Prometheus would read, such as `anyo_answers_total{path=/batch,status=200}`."""
    told = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            told[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return told


# --- POST /recommend, POST /batch


def test_a_user_is_recommended_what_the_model_says(client, recommender):
    for user in recommender.files.raw_user_ids:
        answer = ok(client, "/recommend", {"user": user, "k": 4})
        assert answer == {
            "model": "sasrec-0123",
            "version": recommender.files.version,
            "by": "model",
            "items": as_told(recommender.recommend([user], k=4)[0]),
        }


@pytest.mark.parametrize(
    "asked",
    [
        {"k": 3},
        {"k": 1000},
        {"filter_seen": False},
        {"exclude": ["10", "20", "nothing"]},
        {"items": ["30", "90", "nothing", "40"]},
        {"items": []},
        {"items": ["30", "40"], "exclude": ["40"], "filter_seen": False, "k": 7},
    ],
)
def test_a_history_and_its_lists_are_read_as_python_reads_them(client, recommender, asked):
    history = ["10", "nothing", "50", "30"]
    answer = ok(client, "/recommend", {"history": history, **asked})
    assert answer["items"] == as_told(recommender.recommend(histories=[history], **asked)[0])


@pytest.mark.parametrize("asked", [{"user": "nobody"}, {"history": []}, {"history": ["nothing"]}])
def test_without_a_history_popular_items_are_told_as_such(client, recommender, asked):
    answer = ok(client, "/recommend", {**asked, "k": 3, "because": True})
    assert (answer["by"], answer["items"]) == ("popularity", as_told(recommender.recommend(["nobody"], k=3)[0]))


def test_policies_of_the_settings_hold(sasrec_folder, recommender):
    policies = ServeSettings(filter_seen=False, empty_history="refuse", unknown_items="refuse")
    user = recommender.files.raw_user_ids[1]
    with service(sasrec_folder, serve=policies) as client:
        found = ok(client, "/recommend", {"user": user, "k": 15})
        assert found["items"] == as_told(recommender.recommend([user], k=15, filter_seen=False)[0])
        assert ok(client, "/recommend", {"user": user, "k": 15, "filter_seen": True}) != found
        assert refused(client, "/recommend", {"user": "nobody"}) == (
            422, "The history holds nothing that the model knows: there is nothing to go by.",
        )  # fmt: skip
        for asked in ({"history": ["x"]}, {"history": ["10"], "items": ["x"]}, {"history": ["10"], "exclude": ["x"]}):
            assert refused(client, "/recommend", asked) == (422, "Item 'x' is not in the catalogue of 15 items.")


def test_it_is_told_which_items_carry_a_recommendation(client, recommender):
    history = ["10", "50", "30", "10", "90"]
    answer = ok(client, "/recommend", {"history": history, "k": 5, "because": True})
    items = [int(each) // 10 for each in ids(answer)]
    carriers = recommender.carriers([1, 5, 3, 1, 9], items)
    assert [each["because"] for each in answer["items"]] == [[str(10 * item) for item in each] for each in carriers]
    assert all(set(each["because"]) <= set(history) for each in answer["items"]) and any(carriers)
    assert ids(ok(client, "/recommend", {"history": history, "k": 5})) == ids(answer)


def test_a_batch_is_answered_in_its_order(client, recommender):
    users = [*recommender.files.raw_user_ids, "nobody"] * 8
    asked = [{"user": user, "k": 1 + place % 3} for place, user in enumerate(users)]
    found = ok(client, "/batch", {"requests": asked})["answers"]
    assert len(found) == 104
    for answer, each in zip(found, asked, strict=True):
        assert answer["items"] == as_told(recommender.recommend([each["user"]], k=each["k"])[0])


def test_of_a_batch_all_are_answered_or_none(sasrec_folder):
    with service(sasrec_folder, serve=ServeSettings(empty_history="refuse")) as client:
        requests = [{"history": ["10"]}, {"user": "nobody"}, {"history": ["20"]}]
        assert refused(client, "/batch", {"requests": requests})[0] == 422
        assert "anyo_recommendations_total{by=model}" not in measured(client)
        assert len(ok(client, "/batch", {"requests": requests[::2]})["answers"]) == 2
        assert measured(client)["anyo_recommendations_total{by=model}"] == 2


def test_a_batch_of_more_than_may_wait_is_refused(sasrec_folder):
    with service(sasrec_folder, max_waiting=2) as client:
        told = "requests: this service takes 2 at once"
        assert refused(client, "/batch", {"requests": [ASKED] * 3}) == (422, told)
        assert len(ok(client, "/batch", {"requests": [ASKED] * 2})["answers"]) == 2


def test_who_is_refused_disturbs_nobody_who_was_ranked_with_him(sasrec_folder, monkeypatch):
    held = Held(monkeypatch)
    with service(sasrec_folder, serve=ServeSettings(empty_history="refuse")) as client, ThreadPoolExecutor(4) as pool:
        asked = [{"history": ["10"], "k": 2}, {"user": "nobody"}, {"history": ["20"], "model": "none"}]
        first = pool.submit(client.post, "/recommend", json={"history": ["30"]})
        held.begun.acquire()
        others = [pool.submit(client.post, "/recommend", json=each) for each in asked]
        until(lambda: measured(client)["anyo_waiting_requests"] == 3)
        held.let()
        assert [each.result().status_code for each in (first, *others)] == [200, 200, 422, 404]
        assert measured(client)["anyo_batch_requests_bucket{le=4.0}"] == 2
        assert measured(client)["anyo_batch_requests_sum"] == 4


# --- models beside


def test_a_request_is_answered_by_the_model_that_it_names(sasrec_folder, recommender, other):
    with service(sasrec_folder, {"other": other}) as client:
        named = {
            name: ok(client, "/recommend", {"history": ["10"], "model": name}) for name in ("sasrec-0123", "other")
        }
        assert {name: answer["model"] for name, answer in named.items()} == {name: name for name in named}
        assert named["other"]["items"] == as_told(other.recommend(histories=[["10"]])[0])
        assert named["sasrec-0123"] == ok(client, "/recommend", {"history": ["10"]})
        requests = [{"history": ["10"], "model": name} for name in ("other", "sasrec-0123", "other")]
        answers = ok(client, "/batch", {"requests": requests})["answers"]
        assert answers == [named["other"], named["sasrec-0123"], named["other"]]
        assert refused(client, "/recommend", {"history": ["10"], "model": "x"}) == (
            404, "There is no model 'x': ask one of sasrec-0123, other.",
        )  # fmt: skip


def test_models_are_listed_the_one_that_answers_first(sasrec_folder, recommender, tmp_path):
    folder = remade(sasrec_folder, tmp_path / "a-distilled-one", {8: 1.0}, student_is_distilled=True)
    distilled = Recommender.load(folder)
    with service(sasrec_folder, {"a-distilled-one": distilled}) as client:
        expected = [
            {
                "model": files.name, "version": files.version, "distilled": files.distilled, "items": 15,
                "precomputed": False, "users": None,
            }
            for files in (recommender.files, distilled.files)
        ]  # fmt: skip
        assert ok(client, "/models", kind=schemas.ModelsAnswer) == {"models": expected}
        assert [each["distilled"] for each in expected] == [False, True]


def test_a_model_of_the_same_name_does_not_take_the_place_of_the_one_that_answers(sasrec_folder, recommender, tmp_path):
    same = Recommender.load(remade(sasrec_folder, tmp_path / "sasrec-0123", {8: 100.0}))
    with service(sasrec_folder, {"sasrec-0123": same}) as client:
        for model in (None, "sasrec-0123"):
            assert ok(client, "/recommend", {"history": ["10"], "model": model})["version"] == recommender.files.version


# --- lists that were made beforehand


@pytest.fixture(scope="module")
def listed(recommender, tmp_path_factory) -> Lists:
    """Four items for each of the first three users, as the model recommends them."""
    path = tmp_path_factory.mktemp("lists") / "teacher.parquet"
    recommend_to_file(recommender, recommender.files.raw_user_ids[:3], path, k=4, by="teacher")
    return Lists.read(path, recommender.files)


@pytest.fixture(scope="module")
def with_lists(sasrec_folder, listed) -> Iterator[TestClient]:
    with service(sasrec_folder, lists={"teacher": listed}) as client:
        yield client


@pytest.mark.parametrize("place", [0, 2])
def test_a_user_is_told_his_list_with_no_reason(with_lists, recommender, listed, place):
    user = recommender.files.raw_user_ids[place]
    expected = as_told(recommender.recommend([user], k=4)[0])
    for k in (1, 3, 4, 1000):
        answer = ok(with_lists, "/recommend", {"user": user, "model": "teacher", "k": k, "because": True})
        assert answer == {"model": "teacher", "version": listed.version, "by": "precomputed", "items": expected[:k]}
    assert measured(with_lists)["anyo_recommendations_total{by=precomputed}"] >= 4


def test_of_a_list_only_what_a_request_allows_is_told(with_lists, recommender):
    user = recommender.files.raw_user_ids[1]
    asked = {"user": user, "model": "teacher"}
    a, b, c, d = ids(ok(with_lists, "/recommend", asked))
    for limits, left in (
        ({"exclude": [b, "nothing"]}, [a, c, d]),
        ({"exclude": [a], "k": 2}, [b, c]),
        ({"items": [d, "nothing", b]}, [b, d]),
        ({"items": [d, b], "exclude": [b]}, [d]),
        ({"items": []}, []),
    ):
        assert ids(ok(with_lists, "/recommend", asked | limits)) == left


def test_lists_answer_for_their_users_alone(with_lists, recommender):
    other = recommender.files.raw_user_ids[5]
    for user in (other, "nobody"):
        told = f"teacher holds no list of user {user!r}."
        assert refused(with_lists, "/recommend", {"user": user, "model": "teacher"}) == (404, told)
    status, told = refused(with_lists, "/recommend", {"history": ["10"], "model": "teacher"})
    assert status == 422 and told.startswith("teacher holds lists that were made beforehand for users of the log")
    assert refused(with_lists, "/recommend", {"user": other, "model": "x"}) == (
        404, "There is no model 'x': ask one of sasrec-0123, teacher.",
    )  # fmt: skip


def test_a_batch_may_ask_models_and_lists(with_lists, recommender):
    user = recommender.files.raw_user_ids[0]
    requests = [{"user": user, "k": 2}, {"user": user, "k": 2, "model": "teacher"}]
    answers = ok(with_lists, "/batch", {"requests": requests})["answers"]
    assert [each["by"] for each in answers] == ["model", "precomputed"]


def test_lists_stand_behind_the_models_with_what_they_are(with_lists, listed):
    *_, last = ok(with_lists, "/models", kind=schemas.ModelsAnswer)["models"]
    assert last == {
        "model": "teacher", "version": listed.version, "distilled": False, "items": 15, "precomputed": True, "users": 3,
    }  # fmt: skip


def test_what_a_user_took_since_is_left_out_of_his_list_unless_seen_items_are_wanted(
    sasrec_folder, recommender, listed, events
):
    user = recommender.files.raw_user_ids[0]
    with service(sasrec_folder, lists={"teacher": listed}, events=events) as client:
        asked = {"user": user, "model": "teacher"}
        a, b, *more = ids(ok(client, "/recommend", asked))
        ok(client, "/events", {"events": [{"user": user, "item": b}]})
        assert ids(ok(client, "/recommend", asked)) == [a, *more]
        assert ids(ok(client, "/recommend", {**asked, "filter_seen": False})) == [a, b, *more]


def test_a_list_made_with_seen_items_is_told_without_them(sasrec_folder, recommender, tmp_path):
    user, path = recommender.files.raw_user_ids[0], tmp_path / "all.csv"
    recommend_to_file(recommender, [user], path, k=15, filter_seen=False)
    seen = {recommender.files.raw_ids[item - 1] for item in recommender.files.history(user)}
    with service(sasrec_folder, lists={"all": Lists.read(path, recommender.files)}) as client:
        everything = ids(ok(client, "/recommend", {"user": user, "model": "all", "k": 15, "filter_seen": False}))
        assert len(everything) == 15
        left = ids(ok(client, "/recommend", {"user": user, "model": "all", "k": 15}))
        assert left == [item for item in everything if item not in seen] and len(left) < 15


def test_unknown_items_of_a_request_are_refused_of_lists_too_where_the_settings_say_so(sasrec_folder, listed):
    with service(sasrec_folder, lists={"teacher": listed}, serve=ServeSettings(unknown_items="refuse")) as client:
        for limits in ({"items": ["x"]}, {"exclude": ["x"]}):
            asked = {"user": listed.users[0], "model": "teacher", **limits}
            assert refused(client, "/recommend", asked) == (422, "Item 'x' is not in the catalogue of 15 items.")


def test_what_a_newer_model_does_not_know_is_left_out_of_lists(sasrec_folder, listed, tmp_path):
    user = listed.users[0]
    items = [each.raw_id for each in listed.of(user).items]
    gone = ["gone" if f"{10 * number}" == items[1] else f"{10 * number}" for number in range(1, 16)]
    with service(remade(sasrec_folder, tmp_path / "newer", raw_ids=gone), lists={"teacher": listed}) as client:
        answer = ok(client, "/recommend", {"user": user, "model": "teacher", "filter_seen": False})
        assert ids(answer) == [items[0], *items[2:]]


# --- GET /similar, /items


@pytest.mark.parametrize("k", [1, 10, 1000])
def test_similar_items_are_told(client, recommender, k):
    answer = ok(client, f"/similar/70?k={k}", kind=schemas.SimilarAnswer)
    assert answer["items"] == as_told(Answer("model", recommender.similar("70", k)))
    assert (answer["model"], answer["version"]) == ("sasrec-0123", recommender.files.version)
    assert ok(client, "/similar/70", kind=schemas.SimilarAnswer)["items"] == as_told(
        Answer("model", recommender.similar("70"))
    )


def test_an_item_that_is_not_there_is_told(client):
    assert refused(client, "/similar/7") == (404, "Item '7' is not in the catalogue of 15 items.")
    assert refused(client, "/similar/")[0] == 404


ODD = [
    "a/b", "/etc/passwd", "../../etc/passwd", "..", ".", "a?b=c#d", "%2F", "羅生門", "é ½", " ", "a+b&c", '"', "\\",
    "a//", "<b>{0}",
]  # fmt: skip


def encoded(text: str) -> str:
    """Returns a text for a URL with nothing left that could mean anything."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def test_ids_may_look_like_anything(sasrec_folder, recommender, tmp_path):
    """Asked over a real connection: the client of tests decodes an address twice."""
    renamed = dict(zip(recommender.files.raw_ids, ODD, strict=True))
    app = app_of(remade(sasrec_folder, tmp_path / "odd", raw_ids=ODD))
    with served(app) as address, httpx.Client(base_url=address, timeout=60) as client:
        for plain, odd in renamed.items():
            found = ok(client, f"/similar/{encoded(odd)}?k=3", kind=schemas.SimilarAnswer)
            assert ids(found) == [renamed[each.raw_id] for each in recommender.similar(plain, 3)]
            (found,) = ok(client, f"/items?query={encoded(odd)}&limit=1", kind=schemas.ItemsAnswer)["items"]
            assert odd.casefold() in found["item"].casefold() + found["title"].casefold()
            asked = {"history": [odd], "items": [odd, ODD[0]], "exclude": ["nothing"], "filter_seen": False}
            (expected,) = recommender.recommend(
                histories=[[plain]], items=[plain, recommender.files.raw_ids[0]], filter_seen=False
            )
            assert ids(ok(client, "/recommend", asked)) == [renamed[each.raw_id] for each in expected.items]


def test_items_are_found_by_title_or_id_those_taken_most_first(client, recommender):
    files = recommender.files
    order = sorted(range(15), key=lambda place: (-files.counts[place + 1], place))
    told = [
        {"item": files.raw_ids[place], "title": files.titles[place], "count": int(files.counts[place + 1])}
        for place in order
    ]
    everything = ok(client, "/items", kind=schemas.ItemsAnswer)
    assert everything == {"total": 15, "items": told}
    for query in ("film no. 1", "FILM NO. 1", "(1953", "30", "nothing like it", "%"):
        expected = [each for each in told if query.lower() in each["title"].lower() or query in each["item"]]
        found = ok(client, f"/items?query={encoded(query)}&limit=100", kind=schemas.ItemsAnswer)
        assert found == {"total": len(expected), "items": expected}
    pages = [ok(client, f"/items?limit=4&offset={first}", kind=schemas.ItemsAnswer) for first in (0, 4, 8, 12, 16)]
    assert [each for page in pages for each in page["items"]] == told
    assert {page["total"] for page in pages} == {15}


# --- POST /events


def test_an_event_of_the_future_is_refused(sasrec_folder, events):
    with service(sasrec_folder, events=events) as client:
        given = {"user": "1", "item": "10"}
        assert refused(client, "/events", {"events": [given, given | {"time": time.time() + 90_000}]})[0] == 422
        assert len(events) == 0
        ok(client, "/events", {"events": [given | {"time": time.time() + 3600}]})


def test_events_are_of_the_dataset_that_is_served_alone(sasrec_folder, tmp_path, events):
    other = Recommender.load(remade(sasrec_folder, tmp_path / "other", dataset="another"))
    same = Recommender.load(remade(sasrec_folder, tmp_path / "same", {3: 1.0}))
    with service(sasrec_folder, {"other": other, "same": same}, events=events) as client:
        asked = [{"user": "new", "k": 1, "model": model} for model in ("sasrec-0123", "same", "other")]
        ok(client, "/events", {"events": [{"user": "new", "item": "10"}]})
        assert [ok(client, "/recommend", each)["by"] for each in asked] == ["model", "model", "popularity"]


def test_events_that_a_newer_log_holds_count_once():
    assert joined([1, 2], [3, 4]) == [1, 2, 3, 4]
    assert joined([1, 2, 3, 4], [3, 4, 5]) == [1, 2, 3, 4, 5]
    assert joined([1, 2, 3], [2, 3, 1]) == [1, 2, 3, 1]
    assert joined([], [3, 3]) == [3, 3] and joined([3, 3], []) == [3, 3]


def test_a_store_that_fails_fails_those_alone_who_need_it(sasrec_folder, events, monkeypatch):
    with service(sasrec_folder, events=events) as client:
        monkeypatch.setattr(events, "of", lambda users: 1 / 0)
        with ThreadPoolExecutor(8) as pool:
            asked = [{"user": "1"}, {"history": ["10"]}] * 8
            found = list(pool.map(lambda each: client.post("/recommend", json=each).status_code, asked))
        assert found == [500, 200] * 8


def test_what_is_asked_with_reasons_keeps_nobody_else_waiting(sasrec_folder, monkeypatch):
    begun, may_go, carriers = threading.Event(), threading.Event(), Recommender.carriers

    def held(recommender: Recommender, *asked: Any) -> Any:
        begun.set()
        assert may_go.wait(60)
        return carriers(recommender, *asked)

    monkeypatch.setattr(Recommender, "carriers", held)
    with service(sasrec_folder, timeout_seconds=60.0) as client, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.post, "/recommend", json=ASKED | {"because": True})
        assert begun.wait(60)
        ok(client, "/recommend", ASKED)
        may_go.set()
        assert slow.result().status_code == 200


def test_an_event_is_known_to_the_next_recommendation(sasrec_folder, recommender, events):
    user = recommender.files.raw_user_ids[0]
    history = [recommender.files.raw_ids[item - 1] for item in recommender.files.history(user)]
    with service(sasrec_folder, events=events) as client:
        for asked in (user, "somebody new"):
            known = history if asked == user else []
            before = ok(client, "/recommend", {"user": asked, "k": 15})
            done = {"events": [{"user": asked, "item": "150"}, {"user": asked, "item": "60", "time": 5}]}
            assert ok(client, "/events", done) == {"stored": 2, "unknown_items": []}
            after = ok(client, "/recommend", {"user": asked, "k": 15})
            assert after["items"] == as_told(recommender.recommend(histories=[[*known, "60", "150"]], k=15)[0])
            assert after != before and after["by"] == "model"
        other = ok(client, "/recommend", {"user": recommender.files.raw_user_ids[1]})
        assert other["items"] == as_told(recommender.recommend([recommender.files.raw_user_ids[1]])[0])


def test_items_that_the_model_does_not_know_are_stored_and_passed_over(sasrec_folder, recommender, events):
    with service(sasrec_folder, events=events, serve=ServeSettings(unknown_items="refuse")) as client:
        done = [{"user": "u", "item": item} for item in ("new", "10", "newer", "new")]
        assert ok(client, "/events", {"events": done}) == {"stored": 4, "unknown_items": ["new", "newer"]}
        assert events.of(["u"]) == {"u": ["new", "10", "newer", "new"]}
        found = ok(client, "/recommend", {"user": "u"})
        assert found["items"] == as_told(recommender.recommend(histories=[["10"]])[0])


def test_an_answer_to_events_means_that_they_are_stored(sasrec_folder, events, tmp_path):
    with service(sasrec_folder, events=events) as client:
        ok(client, "/events", {"events": [{"user": "u", "item": "10", "time": 1.5}]})
        again = Events(f"sqlite:///{tmp_path / 'events.db'}")
        assert again.of(["u"]) == {"u": ["10"]}
        again.close()


def test_events_that_cannot_be_stored_are_not_acknowledged(sasrec_folder, events, monkeypatch):
    def full(self, events: list[Event]) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Events, "add", full)
    with service(sasrec_folder, events=events) as client:
        assert client.post("/events", json={"events": [{"user": "u", "item": "10"}]}).status_code == 500


def test_where_none_are_kept_events_are_refused(client):
    status, told = refused(client, "/events", {"events": [{"user": "u", "item": "10"}]})
    assert (status, told) == (404, "This service keeps no events: start it with server.events=sqlite:///<path>.")


# --- what a request may not be

ASKED = {"history": ["10"]}
UNUSABLE = [
    ("/recommend", {}, "body: Value error, give either user or history"),
    ("/recommend", {"user": "1", "history": []}, "body: Value error, give either user or history"),
    ("/recommend", ASKED | {"k": 0}, "body.k: Input should be greater than or equal to 1"),
    ("/recommend", ASKED | {"k": 1001}, "body.k: Input should be less than or equal to 1000"),
    ("/recommend", ASKED | {"k": 10**30}, "body.k: Input should be less than or equal to 1000"),
    ("/recommend", ASKED | {"k": "3"}, "body.k: Input should be a valid integer"),
    ("/recommend", ASKED | {"k": 2.5}, "body.k: Input should be a valid integer"),
    ("/recommend", ASKED | {"k": True}, "body.k: Input should be a valid integer"),
    ("/recommend", ASKED | {"because": "yes"}, "body.because: Input should be a valid boolean"),
    ("/recommend", ASKED | {"filter_seen": 1}, "body.filter_seen: Input should be a valid boolean"),
    ("/recommend", ASKED | {"item": ["10"]}, "body.item: Extra inputs are not permitted"),
    ("/recommend", {"user": ""}, "body.user: String should have at least 1 character"),
    ("/recommend", {"user": "x" * 513}, "body.user: String should have at most 512 characters"),
    ("/recommend", {"user": 7}, "body.user: Input should be a valid string"),
    ("/recommend", {"user": "a\0b"}, "body.user: String should match pattern"),
    ("/recommend", {"history": ["10", 20]}, "body.history.1: Input should be a valid string"),
    ("/recommend", {"history": "10"}, "body.history: Input should be a valid list"),
    ("/recommend", {"history": ["1"] * 10_001}, "body.history: List should have at most 10000 items"),
    ("/recommend", ["10"], "body: Input should be a valid dictionary"),
    ("/batch", {"requests": []}, "body.requests: List should have at least 1 item"),
    ("/batch", {"requests": [ASKED] * 257}, "body.requests: List should have at most 256 items"),
    ("/batch", {"requests": [ASKED, {"user": "1", "k": -1}]}, "body.requests.1.k: Input should be greater than"),
    ("/events", {"events": []}, "body.events: List should have at least 1 item"),
    ("/events", {"events": [{"user": "u", "item": "a"}] * 1001}, "body.events: List should have at most 1000 items"),
    ("/events", {"events": [{"user": "u"}]}, "body.events.0.item: Field required"),
    ("/events", {"events": [{"user": "u", "item": "a", "time": -1}]}, "body.events.0.time: Input should be greater"),
    ("/events", {"events": [{"user": "u", "item": "a", "time": "1"}]}, "body.events.0.time: Input should be a valid"),
    ("/similar/10?k=0", None, "query.k: Input should be greater than or equal to 1"),
    ("/similar/10?k=1001", None, "query.k: Input should be less than or equal to 1000"),
    ("/similar/10?k=many", None, "query.k: Input should be a valid integer"),
    ("/items?limit=101", None, "query.limit: Input should be less than or equal to 100"),
    ("/items?offset=-1", None, "query.offset: Input should be greater than or equal to 0"),
    (f"/items?query={'x' * 201}", None, "query.query: String should have at most 200 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "posted", "told"), UNUSABLE, ids=range(len(UNUSABLE)))
def test_what_is_wrong_with_a_request_is_told_in_a_sentence(client, path, posted, told):
    status, found = refused(client, path, posted)
    assert status == 422 and found.startswith(told)


def test_all_that_is_wrong_is_told_together_without_what_was_sent(client):
    status, told = refused(client, "/recommend", {"user": "", "k": "SENT", "because": "SENT", "n" * 5000: "SENT"})
    assert status == 422 and told.count(";") == 3
    assert "SENT" not in told and len(told) < 500


NO_JSON = [
    b"", b"{", b"\xff\xfe", b'{"history":["\xff"]}', b"[" * 100_000, b'{"history":["\\ud800"]}',
    b'{"history":["1"],"\\ud800":1}',
]  # fmt: skip


@pytest.mark.parametrize("body", NO_JSON, ids=range(len(NO_JSON)))
def test_what_is_no_json_is_unusable_too(client, body):
    answer = client.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and answer.json()["detail"].startswith("body")


def test_other_addresses_and_methods_are_not_there(client):
    assert refused(client, "/nothing") == (404, "Not Found")
    assert refused(client, "/recommend") == (405, "Method Not Allowed")
    assert refused(client, "/health", {}) == (405, "Method Not Allowed")


# --- too much, too often, without the key


def test_with_a_key_nothing_but_life_is_told_without_it(sasrec_folder, events):
    posted = {
        "/recommend": ASKED,
        "/batch": {"requests": [ASKED]},
        "/events": {"events": [{"user": "u", "item": "10"}]},
    }
    closed = ["/similar/10", "/items", "/models", "/metrics", "/docs", "/openapi.json", *posted]
    with service(sasrec_folder, events=events, api_key="secret") as client:
        for path in closed:
            assert refused(client, path, posted.get(path)) == (401, "The header X-API-Key does not hold the key.")
        assert len(events) == 0
        assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
        client.headers["X-API-Key"] = "secret"
        for path in closed:
            answer = client.post(path, json=posted[path]) if path in posted else client.get(path)
            assert answer.status_code == 200


def test_a_large_request_is_refused(sasrec_folder):
    with service(sasrec_folder, max_body_kb=1) as client:
        assert refused(client, "/recommend", {"history": ["1234567890"] * 100}) == (
            413,
            "A request may hold 1024 bytes.",
        )
        ok(client, "/recommend", {"history": ["1234567890"] * 50})


def test_a_client_that_asks_too_often_is_told_when_to_come_back(sasrec_folder):
    with service(sasrec_folder, requests_per_second=0.01) as client:
        ok(client, "/recommend", ASKED)
        answer = client.post("/recommend", json=ASKED)
        assert answer.status_code == 429 and 90 < int(answer.headers["retry-after"]) <= 100
        assert client.get("/health").status_code == 200


class Held:
    """Holds rankings until they are let; `begun` tells that one would begin."""

    def __init__(self, monkeypatch) -> None:
        self.begun, self._may_go = threading.Semaphore(0), threading.Event()
        rank = Recommender.rank

        def held(recommender: Recommender, queries: Any) -> Any:
            if threading.current_thread().name.startswith("ranking"):
                self.begun.release()
                self._may_go.wait(60)
            return rank(recommender, queries)

        monkeypatch.setattr(Recommender, "rank", held)

    def let(self) -> None:
        self._may_go.set()


def until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come to that")


def test_where_too_many_wait_the_next_is_told_to_come_back(sasrec_folder, monkeypatch):
    held = Held(monkeypatch)
    with service(sasrec_folder, max_waiting=1, timeout_seconds=60.0) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/recommend", json=ASKED)
        held.begun.acquire()
        second = pool.submit(client.post, "/recommend", json=ASKED)
        until(lambda: measured(client)["anyo_waiting_requests"] == 1)
        third = client.post("/recommend", json=ASKED)
        assert (third.status_code, third.headers["retry-after"]) == (503, "1")
        assert third.json() == {"detail": "Too many requests wait."}
        assert client.get("/ready").status_code == 200
        held.let()
        assert [first.result().status_code, second.result().status_code] == [200, 200]
        ok(client, "/recommend", ASKED)


def test_who_waits_too_long_is_told_so(sasrec_folder, monkeypatch):
    held = Held(monkeypatch)
    with service(sasrec_folder, timeout_seconds=0.2) as client:
        assert refused(client, "/recommend", ASKED) == (503, "Too many requests wait.")
        held.let()


# --- which model answers, while requests run


def test_ready_tells_which_model_answers_and_health_nothing_but_life(client, recommender):
    assert ok(client, "/health", kind=schemas.Health) == {"status": "ok"}
    expected = {"status": "ok", "model": "sasrec-0123", "version": recommender.files.version}
    assert ok(client, "/ready", kind=schemas.Health) == expected


def test_where_requests_are_not_answered_any_more_it_is_not_ready(client, monkeypatch):
    monkeypatch.setattr(Batcher, "is_at_work", False)
    assert refused(client, "/ready") == (503, "Requests are not answered.")


def test_a_newer_model_is_taken_over_between_two_requests_and_a_broken_one_is_not(sasrec_folder, tmp_path):
    remade(sasrec_folder, tmp_path / "tiny" / "one", {3: 100.0})
    with service(lambda: newest_served(tmp_path, "tiny", distilled=False), reload_seconds=0.02) as client:
        asked = {"history": ["10"], "k": 1}
        one = ok(client, "/recommend", asked)
        assert (one["model"], ids(one)) == ("one", ["30"])
        remade(sasrec_folder, tmp_path / "tiny" / "two", {8: 100.0})
        until(lambda: client.get("/ready").json()["model"] == "two")
        two = ok(client, "/recommend", asked)
        assert (two["model"], ids(two)) == ("two", ["80"]) and two["version"] != one["version"]
        assert client.get("/similar/10").json()["version"] == two["version"]
        other = broken(remade(sasrec_folder, tmp_path / "elsewhere" / "three", {5: 100.0}))
        other.rename(tmp_path / "tiny" / "three")
        until(lambda: measured(client).get("anyo_model_changes_total{outcome=refused}") == 1)
        assert ok(client, "/recommend", asked) == two
        told = measured(client)
        assert told["anyo_model_changes_total{outcome=taken over}"] == 1
        assert [name for name in told if name.startswith("anyo_model_info")] == [
            f"anyo_model_info{{model=two,version={two['version']}}}"
        ]


def test_a_look_that_fails_is_not_the_last_one(sasrec_folder, tmp_path):
    folders = [sasrec_folder, None, remade(sasrec_folder, tmp_path / "next", {8: 1.0})]

    def find() -> Path:
        found = folders.pop(0) if len(folders) > 1 else folders[0]
        if found is None:
            raise RuntimeError("something unforeseen")
        return found

    with service(find, reload_seconds=0.02) as client:
        until(lambda: client.get("/ready").json()["model"] == "next")


def test_many_requests_at_once_while_models_change_are_each_answered_by_one_model(sasrec_folder, tmp_path):
    """No answer mixes two: the version that it tells is that of the model whose favourite it recommends."""
    favourites = {}
    for item in (3, 8, 5):
        folder = remade(sasrec_folder, tmp_path / f"m{item}", {item: 100.0})
        favourites[Recommender.load(folder).files.version] = str(10 * item)
    folders = iter([3, 8, 5, 8, 3, 5] * 10_000)
    with service(lambda: tmp_path / f"m{next(folders)}", reload_seconds=0.01) as client, ThreadPoolExecutor(4) as pool:
        seen = set()

        def enough() -> bool:
            for found in pool.map(lambda _: ok(client, "/recommend", {"history": ["10"], "k": 1}), range(16)):
                assert ids(found) == [favourites[found["version"]]]
                seen.add(found["version"])
            return len(seen) == 3

        until(enough)


# --- what is measured, and the document


def test_what_happened_is_counted(sasrec_folder, recommender, events):
    with service(sasrec_folder, events=events, max_body_kb=1) as client:
        ok(client, "/recommend", ASKED)
        ok(client, "/recommend", {"user": "nobody"})
        ok(client, "/batch", {"requests": [ASKED] * 3})
        ok(client, "/events", {"events": [{"user": "u", "item": "10"}] * 2})
        refused(client, "/recommend", {})
        refused(client, "/similar/x/y/z")
        refused(client, "/nothing/of/the/kind")
        refused(client, "/recommend", {"history": ["x" * 500] * 9})
        told = measured(client)
    expected = {
        "anyo_answers_total{path=/recommend,status=200}": 2,
        "anyo_answers_total{path=/recommend,status=422}": 1,
        "anyo_answers_total{path=/batch,status=200}": 1,
        "anyo_answers_total{path=/events,status=200}": 1,
        "anyo_answers_total{path=/similar/{item:path},status=404}": 1,
        "anyo_answers_total{path=other,status=404}": 1,
        "anyo_answers_total{path=other,status=413}": 1,
        "anyo_request_seconds_count{path=/recommend}": 3,
        "anyo_recommendations_total{by=model}": 4,
        "anyo_recommendations_total{by=popularity}": 1,
        "anyo_events_total": 2,
        "anyo_batch_requests_sum": 5,
        "anyo_waiting_requests": 0,
        f"anyo_model_info{{model=sasrec-0123,version={recommender.files.version}}}": 1,
    }
    assert {name: told.get(name) for name in expected} == expected


def test_what_the_document_gives_as_examples_is_answered(sasrec_folder, events):
    with service(sasrec_folder, events=events) as client:
        document = client.get("/openapi.json").json()
        tried = []
        for path, ways in document["paths"].items():
            if "post" in ways:
                schema = ways["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                for example in document["components"]["schemas"][schema.rpartition("/")[2]]["examples"]:
                    ok(client, path, example)
                    tried.append(path)
    assert sorted(tried) == ["/batch", "/events", "/recommend", "/recommend"]


def test_every_address_tells_its_problems_in_the_document(client):
    for ways in client.get("/openapi.json").json()["paths"].values():
        for way in ways.values():
            assert {"200", "401", "404", "408", "413", "422", "429", "503"} <= way["responses"].keys()
            for status in {"401", "422", "503"}:
                schema = way["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}
