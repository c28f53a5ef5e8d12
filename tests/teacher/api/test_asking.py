import logging
import os
import signal
import sqlite3
import threading
import time

import pytest

from src.core.errors import UserError
from src.teacher.api.answer_store import Answer, AnswerStore, NoAnswers, Usage
from src.teacher.api.asking import follow, rank_all, unanswered
from src.teacher.api.endpoint import Endpoint
from src.teacher.api.settings import ApiSettings
from tests.processes import child
from tests.teacher.api.endpoints import cuts, fails, nonsense, ranked, right, serving, slow

TITLES = [["Heat", "Dune", "M"], ["Alien", "Zulu", "Brazil"], ["Heat", "Dune", "M"], ["Ran", "Ikiru", "Stalker"]]
KEY = "sk-not-to-be-seen-anywhere"


class Asked(list):
    """Questions about lists of titles, all of one length."""

    def __init__(self, titles) -> None:
        super().__init__("\n".join(f"{number}. {title}" for number, title in enumerate(each, 1)) for each in titles)
        self.candidates = len(titles[0])


FOUR = Asked(TITLES)
MANY = Asked([[f"{number:02d} {letter}" for letter in "bca"] for number in range(40)])


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("KEY_OF_TEST", KEY)


def settings(url: str, **more) -> ApiSettings:
    usual = {"concurrency": 3, "timeout": 5.0, "retries": 1, "answer_tokens": 20, "max_refused": 0.0}
    return ApiSettings(base_url=url, model="ranker", key_variable="KEY_OF_TEST", **{**usual, **more})


def rank(questions, how: ApiSettings, path):
    with AnswerStore(path) as store:
        return rank_all(questions, how, store, Endpoint(how), "asking")


@pytest.mark.parametrize("form", ["line", "json_schema"])
def test_rankings_are_the_models_and_alike_questions_are_asked_once(tmp_path, form):
    questions = Asked(TITLES)
    if form == "json_schema":
        questions[:] = [f"{text}\nin JSON" for text in questions]
    with serving() as server:
        found = rank(questions, settings(server.url, answer=form), tmp_path / "answers.sqlite")
    assert found.places == [ranked(titles) for titles in TITLES] == [[2, 0, 1], [1, 2, 0], [2, 0, 1], [2, 0, 1]]
    assert (found.refused, found.as_shown, found.distinct) == (0, 0, 3)
    assert len(server.asked) == 3 and found.usage.tokens == server.billed
    assert [asked.headers["authorization"] for asked in server.asked] == [f"Bearer {KEY}"] * 3
    body = server.asked[0].body
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("ranker", 20, 0.0)
    assert ("response_format" in body) is (form == "json_schema")


def test_fields_of_ones_own_are_sent_and_none_that_are_not_wanted(tmp_path):
    how = {"answer_tokens_field": "max_completion_tokens", "temperature": None, "more": {"reasoning_effort": "low"}}
    with serving() as server:
        rank(FOUR, settings(server.url, **how), tmp_path / "answers.sqlite")
    body = server.asked[0].body
    assert set(body) == {"model", "messages", "max_completion_tokens", "reasoning_effort"}
    assert (body["max_completion_tokens"], body["reasoning_effort"]) == (20, "low")


def test_nothing_is_asked_twice_by_whatever_server_and_all_that_decides_an_answer_is_asked_anew(tmp_path):
    path = tmp_path / "answers.sqlite"
    with serving() as server:
        first = rank(FOUR, settings(server.url), path)
    with serving() as server:
        how = {
            "concurrency": 1,
            "max_tokens_total": 10,
            "price_prompt": 3.0,
            "answer_tokens_field": "max_completion_tokens",
        }
        assert rank(FOUR, settings(server.url, **how), path) == first
        assert server.asked == []
        for more in ({"temperature": 0.5}, {"answer_tokens": 21}, {"more": {"seed": 1}}, {"temperature": None}):
            before = len(server.asked)
            rank(FOUR, settings(server.url, **more), path)
            assert len(server.asked) == before + 3
        assert rank(FOUR, ApiSettings(**{**settings(server.url).plain(), "model": "other"}), path).usage == first.usage
        assert len(server.asked) == 15


def test_an_answer_that_is_none_is_asked_for_again_with_what_was_wrong(tmp_path):
    with serving(lambda text: right(text) if "Your last answer" in text else "M first") as server:
        found = rank(FOUR, settings(server.url), tmp_path / "answers.sqlite")
    assert found.refused == 0 and found.places[1] == [1, 2, 0]
    assert len(server.asked) == 6 and sum("'M first'" in asked.text for asked in server.asked) == 3
    assert found.usage.tokens == server.billed


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_question_is_asked_again_so_often_though_the_answer_is_always_the_same(tmp_path, retries):
    how = {"retries": retries, "max_refused": 1.0}
    with serving(nonsense) as server:
        found = rank(FOUR, settings(server.url, **how), tmp_path / "answers.sqlite")
    assert len(server.asked) == 3 * (retries + 1) and found.refused == 4
    assert found.usage.tokens == server.billed


def test_the_refused_keep_their_order_are_counted_and_are_not_asked_again(tmp_path):
    path = tmp_path / "answers.sqlite"
    with serving(lambda text: nonsense(text) if "Zulu" in text else right(text)) as server:
        found = rank(FOUR, settings(server.url, max_refused=0.25), path)
        assert (found.refused, found.places[1], found.places[3]) == (1, [0, 1, 2], [2, 0, 1])
        assert len(server.asked) == 4  # three questions, one of them twice
        assert rank(FOUR, settings(server.url, max_refused=0.25), path) == found
        with pytest.raises(
            UserError, match=r"1 of \d questions have no ranking, of 4 in all .*max_refused=0\.2\).*rather not"
        ):
            rank(FOUR, settings(server.url, max_refused=0.2), path)
        assert len(server.asked) == 4


def test_a_model_that_ranks_nothing_is_told_early_though_much_may_be_refused(tmp_path):
    with (
        serving(nonsense) as server,
        pytest.raises(UserError, match="20 of 20 questions have no ranking, of 40 in all"),
    ):
        rank(MANY, settings(server.url, max_refused=0.9), tmp_path / "answers.sqlite")
    assert 40 <= len(server.asked) <= 2 * (20 + 3)


def test_rankings_as_they_were_shown_are_counted(tmp_path):
    with serving(lambda text: "1, 2, 3") as server:
        found = rank(FOUR, settings(server.url), tmp_path / "answers.sqlite")
    assert (found.as_shown, found.refused) == (4, 0)


# --- servers that misbehave


def test_a_slow_server_is_asked_several_at_once_and_no_more(tmp_path):
    with serving(misbehaves=slow(0.1)) as server:
        rank(MANY, settings(server.url, concurrency=4), tmp_path / "answers.sqlite")
    assert server.most_at_once == 4 and len(server.asked) == 40


def test_a_server_that_is_too_slow_is_given_up_and_what_it_may_have_done_stays_counted(tmp_path):
    how = {"timeout": 0.2, "attempts": 2, "concurrency": 1}
    with (
        serving(misbehaves=slow(1.0)) as server,
        pytest.raises(UserError, match=r"gave no answer, asked 2 times.*see to"),
    ):
        rank(FOUR, settings(server.url, **how), tmp_path / "answers.sqlite")
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        request = follow(FOUR[0], 3, settings(server.url), store).next
        most = request.most
        assert store.lost(request.digest) == Usage(2 * most.prompt, 2 * most.completion)


def test_a_limit_is_waited_for_by_all(tmp_path):
    with serving(misbehaves=fails(429, 3, retry_after="1")) as server:
        found = rank(MANY, settings(server.url), tmp_path / "answers.sqlite")
    assert found.usage.tokens == server.billed and len(server.asked) == 43
    refused, answered = server.asked[:3], server.asked[3:]
    assert min(each.at for each in answered) - min(each.at for each in refused) >= 1.0


def test_a_limit_that_lets_some_through_is_no_reason_to_give_up(tmp_path):
    free = threading.Lock()

    def one_at_once(handler, number, asked):
        if free.acquire(blocking=False):
            time.sleep(0.05)
            free.release()
            return False
        handler.answer(429, {"error": {"message": "one at once"}}, {"Retry-After": "0.1"})
        return True

    with serving(misbehaves=one_at_once) as server:
        rank(MANY, settings(server.url, attempts=3, concurrency=4), tmp_path / "answers.sqlite")
    assert len(server.asked) > 40 + 3 and len({asked.text for asked in server.asked}) == 40


@pytest.mark.parametrize("misbehaves", [fails(500, 2), fails(503, 2), cuts(2), fails(429, 1, retry_after="soon")])
def test_faults_and_cut_connections_are_got_over(tmp_path, misbehaves):
    with serving(misbehaves=misbehaves) as server:
        found = rank(FOUR, settings(server.url), tmp_path / "answers.sqlite")
    assert found.places == [ranked(titles) for titles in TITLES]


def test_what_was_cut_off_stays_counted_and_a_fault_does_not(tmp_path):
    for name, misbehaves, lost in (("cut", cuts(1), 1), ("fault", fails(500, 1), 0)):
        with serving(misbehaves=misbehaves) as server:
            found = rank(FOUR, settings(server.url, concurrency=1), tmp_path / name)
        most = next(unanswered(FOUR, settings(server.url), NoAnswers())).most
        assert found.usage.tokens == server.billed + lost * most.tokens


def test_a_request_that_is_refused_is_not_sent_again_and_the_key_is_not_told(tmp_path):
    with (
        serving(misbehaves=fails(401, 99, says=f"Incorrect API key provided: {KEY}")) as server,
        pytest.raises(
            UserError, match=r"refuses a request to ranker \(status 401: .*\[key\].*: mend teacher\.api"
        ) as told,
    ):
        rank(FOUR, settings(server.url), tmp_path / "answers.sqlite")
    assert KEY not in str(told.value) and len(server.asked) <= 3


@pytest.mark.parametrize("said", ["<html>", "[]", "{}", '{"choices": []}', "[" * 9999])
def test_what_is_no_chat_completion_is_told(tmp_path, said):
    def other(handler, number, asked):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said.encode())
        return True

    with serving(misbehaves=other) as server, pytest.raises(UserError, match="no chat completion but"):
        rank(FOUR, settings(server.url, attempts=1), tmp_path / "answers.sqlite")


def test_nobody_there_is_told_with_the_address_and_costs_nothing(tmp_path):
    with serving() as server:
        pass
    with pytest.raises(UserError, match=rf"{server.url} gave no answer, asked 2 times \(.*refused"):
        rank(FOUR, settings(server.url, attempts=2), tmp_path / "answers.sqlite")
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        assert all(store.lost(each.digest) == Usage() for each in unanswered(FOUR, settings(server.url), store))


def test_a_wait_of_an_hour_is_left_to_the_user(tmp_path):
    with (
        serving(misbehaves=fails(429, 99, retry_after="3600")) as server,
        pytest.raises(UserError, match="wait 3,600 s"),
    ):
        rank(FOUR, settings(server.url), tmp_path / "answers.sqlite")


# --- the budget


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("tells_usage", [True, False])
def test_it_stops_before_the_budget_is_passed_and_goes_on_with_more(tmp_path, concurrency, tells_usage):
    path, how = tmp_path / "answers.sqlite", {"concurrency": concurrency}
    with serving(misbehaves=slow(0.02), tells_usage=tells_usage) as server:
        most = next(unanswered(MANY, settings(server.url), NoAnswers())).most
        budget = most.tokens + 100 if tells_usage else 10 * most.tokens
        with pytest.raises(
            UserError,
            match=rf"could pass teacher\.api\.max_tokens_total={budget}: \d+ of 40 questions are answered for",
        ):
            rank(MANY, settings(server.url, max_tokens_total=budget, **how), path)
        assert 10 <= len(server.asked) < 40
        spent = server.billed if tells_usage else len(server.asked) * most.tokens
        assert budget - most.tokens < spent <= budget
        stopped = len(server.asked)
        with pytest.raises(UserError, match="start the same command again with more"):
            rank(MANY, settings(server.url, max_tokens_total=budget, **how), path)
        assert len(server.asked) == stopped
        rank(MANY, settings(server.url, max_tokens_total=40 * most.tokens, **how), path)
        assert len(server.asked) == 40


def test_money_is_counted_at_the_prices_that_are_given(tmp_path):
    path, prices = tmp_path / "answers.sqlite", {"price_prompt": 100.0, "price_completion": 400.0}
    with serving() as server, pytest.raises(UserError, match=r"max_cost=0\.05: \d+ of 40 .* cost 0\.0\d+, and it"):
        rank(MANY, settings(server.url, max_cost=0.05, **prices), path)
    most = next(unanswered(MANY, settings(server.url), NoAnswers())).most
    with AnswerStore(path) as store:
        usages = [follow(text, 3, settings(server.url), store).usage for text in MANY]
    paid = sum(100e-6 * usage.prompt + 400e-6 * usage.completion for usage in usages)
    assert 0.05 - (100e-6 * most.prompt + 400e-6 * most.completion) < paid <= 0.05


def test_a_limit_in_money_without_prices_says_nothing():
    with pytest.raises(UserError, match="max_cost needs price_prompt and price_completion"):
        ApiSettings(max_cost=1.0)


# --- kills, and several at once


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_it_goes_on(tmp_path, number):
    path = tmp_path / "answers.sqlite"
    with serving(misbehaves=slow(0.1)) as server:
        how = settings(server.url)
        end = child(lambda: rank(MANY, how, path))
        while len(server.asked) < 12:
            time.sleep(0.01)
        status = end(number)
        assert status == (-9 if number == signal.SIGKILL else 128 + number)
        before = len(server.asked)
        with AnswerStore(path) as store:
            left = list(unanswered(MANY, how, store))
            lost = [request for request in left if store.lost(request.digest) != Usage()]
        assert 40 - before <= len(left) < 40
        found = rank(MANY, how, path)
    again = len(server.asked) - 40
    if number == signal.SIGTERM:  # what was under way was waited for
        assert again == 0 and lost == []
    else:
        assert 0 < again <= how.concurrency and len(lost) == again
        each = server.billed // len(server.asked)  # all questions are alike in length
        assert found.usage.tokens == 40 * each + sum(request.most.tokens for request in lost)
    assert found.places == [[1, 0, 2]] * 40
    assert sorted(each.name for each in tmp_path.iterdir()) == ["answers.sqlite"]


def test_two_processes_share_a_store_and_pay_once(tmp_path):
    path = tmp_path / "answers.sqlite"
    with serving(misbehaves=slow(0.05)) as server:
        how = settings(server.url)
        ends = [child(lambda: rank(MANY, how, path)) for _ in range(2)]
        assert [end(None) for end in ends] == [0, 0]
        assert len(server.asked) == 40
        assert rank(MANY, how, path).places == [[1, 0, 2]] * 40
        assert len(server.asked) == 40


def test_what_a_killed_process_had_sent_another_sends_while_it_runs(tmp_path):
    path, how = tmp_path / "answers.sqlite", settings("http://localhost:1/v1")
    request = next(unanswered(FOUR, how, NoAnswers()))

    def claims() -> None:
        with AnswerStore(path) as of_child:
            of_child.claim(request.digest, request.most)
            time.sleep(30)

    with AnswerStore(path) as store:
        end = child(claims)
        while _claims(path) == 0:
            time.sleep(0.01)
        assert store.claim(request.digest, request.most) is None
        end(signal.SIGKILL)
        assert store.claim(request.digest, request.most) is not None
        assert store.lost(request.digest) == request.most


def _claims(path) -> int:
    with sqlite3.connect(path) as db:
        return db.execute("SELECT count(*) FROM sent").fetchone()[0]


# --- the key


def test_no_key_and_no_package_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KEY_OF_TEST")
    with pytest.raises(
        UserError, match=r"environment variable KEY_OF_TEST, which teacher\.api\.key_variable names, holds no"
    ):
        Endpoint(settings("http://localhost:1/v1"))
    monkeypatch.setenv("KEY_OF_TEST", "a\tb")
    with pytest.raises(UserError, match="holds no key"):
        Endpoint(settings("http://localhost:1/v1"))
    Endpoint(settings("http://localhost:1/v1").model_copy(update={"key_variable": None}))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package openai"):
        Endpoint(settings("http://localhost:1/v1"))


def test_the_key_stands_in_no_file_and_in_no_line_of_the_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(misbehaves=fails(500, 1, says=KEY)) as server:
        rank(FOUR, settings(server.url), tmp_path / "answers.sqlite")
    assert "sent again: status 500" in caplog.text and KEY not in caplog.text
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert {record.name.partition(".")[0] for record in caplog.records} <= {"src", "filelock", "asyncio"}


# --- the store


@pytest.mark.parametrize(
    "content", [b"no database at all, but a text of some length", b"SQLite format 3\0" + b"\1" * 100]
)
def test_a_file_that_is_no_store_is_told_and_left_as_it_is(tmp_path, content):
    (tmp_path / "answers").write_bytes(content)
    with pytest.raises(UserError, match="cannot be used as the store of answers"):
        AnswerStore(tmp_path / "answers")
    assert (tmp_path / "answers").read_bytes() == content
    assert os.listdir(tmp_path) == ["answers"]


def test_a_place_where_no_file_can_be_is_told(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "answers", tmp_path / "folder"):
        with pytest.raises(UserError, match=rf"{path} cannot be used as the store of answers"):
            AnswerStore(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_store_of_another_format_is_told(tmp_path):
    with sqlite3.connect(tmp_path / "answers") as db:
        db.execute("PRAGMA user_version=7")
    with pytest.raises(UserError, match="has format 7, not 1"):
        AnswerStore(tmp_path / "answers")


def test_texts_come_back_as_they_were(tmp_path):
    with AnswerStore(tmp_path / "answers") as store:
        for number, text in enumerate(["", "a\0b", "👩‍🚀", "x" * 100_000]):
            claim = store.claim(str(number), Usage(1, 2))
            assert store.claim(str(number), Usage(1, 2)) is None
            store.keep(claim, str(number), "m", Answer(text, Usage(3, number)))
            assert store.find(str(number)) == Answer(text, Usage(3, number))
            assert store.claim(str(number), Usage(1, 2)) is None and store.lost(str(number)) == Usage()
    assert os.listdir(tmp_path) == ["answers"]


def test_many_threads_use_one_store(tmp_path):
    taken = []
    with AnswerStore(tmp_path / "answers") as store:
        threads = [
            threading.Thread(target=lambda: taken.append(store.claim("one", Usage(1, 1)) is not None))
            for _ in range(20)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert sorted(taken) == [False] * 19 + [True]
