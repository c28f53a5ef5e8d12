"""The page as a browser shows it: search, pick, every model's answer; nothing fails, nothing of a title is obeyed."""

from collections.abc import Iterator, Sequence

import httpx
import pytest

from src.serve.lists import Lists
from tests.browser import Browser, chromium
from tests.serve.http.films import ATTACK, LONG, NAMES, RAW_IDS, TITLES, Model, app_of, models_in, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]

READY = '!document.getElementById("main").hidden'
ANSWERED = """[...document.querySelectorAll(".model")].every(
  (one) => one.matches("[aria-busy=false]") && one.querySelector(".answer").children.length)"""
FOUND = '!document.getElementById("popup").hidden && document.querySelector("#found [aria-selected=true]") !== null'
MODELS = '[...document.querySelectorAll(".model h3")].map((one) => one.textContent)'
TOLD = '[...document.querySelectorAll(".model .answer > p")].map((one) => one.textContent)'
LISTED = """[...document.querySelectorAll(".model")].map((column) => [...column.querySelectorAll("ol > li")]
  .map((item) => [...item.children].map((part) => part.textContent)))"""
PICKED = '[...document.querySelectorAll("#picked bdi")].map((one) => one.textContent)'
FOCUSED = "document.activeElement.id || document.activeElement.ariaLabel"
WIDTH = "document.documentElement.scrollWidth"  # innerWidth grows with what is too wide for a phone


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(chromium()) as found:
        yield found


@pytest.fixture
def models(tmp_path) -> list[Model]:
    return models_in(tmp_path)


@pytest.fixture
def address(models) -> Iterator[str]:
    with served(app_of(models)) as found:
        yield found


def open_page(browser: Browser, address: str, until: str = READY, width: int = 1280, dark: bool = False) -> None:
    browser.show(width, 800, dark=dark, phone=width < 500)
    browser.open(address)
    browser.until(until)


def look_for(browser: Browser, text: str) -> None:
    browser.value('document.getElementById("search").focus()')
    browser.type(text)
    browser.until(FOUND)


def pick(browser: Browser, text: str) -> None:
    """Searches for a text and takes what is found first."""
    before = browser.value(f"{PICKED}.length")
    look_for(browser, text)
    browser.press("Enter")
    browser.until(f"{PICKED}.length === {before + 1} && {ANSWERED}")


def name_user(browser: Browser, user: str) -> None:
    browser.value('document.querySelector("[name=way][value=user]").click()')
    browser.value('document.getElementById("user").focus()')
    browser.type(user)
    browser.until(ANSWERED)


def lists_of(address: str, models: Sequence[Model], **who) -> list[list[list[str]]]:
    """What each model's column has to list, by what the service tells and the titles of the catalogue."""
    title, found = dict(zip(RAW_IDS, TITLES, strict=True)), []
    for model in models:
        asked = {**who, "model": model.files.name, "because": True, "k": 10}
        answer = httpx.post(f"{address}recommend", json=asked).json()
        assert answer["by"] == "model"
        column = []
        for each in answer["items"]:
            score = f"score {each['score']:.2f}"
            carriers = ", ".join(title[item] or item for item in each["because"]) or "no single title"
            beside = f"id {each['item']} · {score}" if each["title"] else score
            column.append([each["title"] or each["item"], beside, f"because of {carriers}"])
        found.append(column)
    assert found[0] != found[1]
    return found


def test_a_search_a_pick_and_what_every_model_recommends_by_the_keyboard_alone(browser, address, models):
    open_page(browser, address)
    assert browser.value(MODELS) == NAMES
    look_for(browser, "ALIEN")
    found = browser.value('[...document.querySelectorAll("#found li")].map((one) => one.textContent)')
    assert found == ["Alien (1979) id m2 · taken 14 times", "Aliens (1986) id m3 · taken 13 times"]
    browser.press("ArrowDown")
    browser.press("Enter")
    browser.until(f"{PICKED}.length && {ANSWERED}")
    pick(browser, "heat")
    assert browser.value(PICKED) == ["Aliens (1986)", "Heat (1995)"]
    assert browser.value(LISTED) == lists_of(address, models, history=["m3", "m1"])
    assert [
        told.replace(".", "").removeprefix("Answered in ").removesuffix(" ms").isdigit() for told in browser.value(TOLD)
    ]
    assert browser.value('document.getElementById("heard").textContent') == " ".join(
        f"{each}: 10 titles." for each in NAMES
    )
    assert browser.told("Runtime.exceptionThrown") == []
    assert browser.told("Log.entryAdded") == []
    asked = {request["request"]["url"] for request in browser.told("Network.requestWillBeSent")}
    assert all(url.startswith(address) for url in asked)


def test_what_is_removed_counts_no_more_and_the_focus_stays_near(browser, address, models):
    open_page(browser, address)
    for text in ("heat", "aliens", "ran"):
        pick(browser, text)
    browser.value("document.querySelector(\"#picked button[aria-label='Remove Aliens (1986)']\").click()")
    assert browser.value(PICKED) == ["Heat (1995)", "Ran (1985)"]
    assert browser.value(FOCUSED) == "Remove Ran (1985)"
    browser.until(ANSWERED)
    assert browser.value(LISTED) == lists_of(address, models, history=["m1", "m7"])
    for _ in range(2):
        browser.value('document.querySelector("#picked button").click()')
    assert browser.value(FOCUSED) == "search"
    assert browser.value(LISTED) == [[], []]
    assert browser.value('document.getElementById("hint").textContent').startswith("Pick a title")


def test_what_is_picked_again_is_the_newest(browser, address, models):
    open_page(browser, address)
    for text in ("heat", "aliens"):
        pick(browser, text)
    look_for(browser, "heat")
    browser.press("Enter")
    browser.until(f'{PICKED}.at(-1) === "Heat (1995)" && {ANSWERED}')
    assert browser.value(PICKED) == ["Aliens (1986)", "Heat (1995)"]


def test_escape_closes_what_was_found_and_enter_takes_nothing_then(browser, address):
    open_page(browser, address)
    look_for(browser, "heat")
    browser.press("Escape")
    browser.press("Enter")
    assert browser.value('document.getElementById("popup").hidden')
    assert browser.value('document.getElementById("search").ariaExpanded') == "false"
    assert browser.value(PICKED) == []


def test_a_search_that_was_left_is_not_shown_later(browser, address):
    open_page(browser, address)
    look_for(browser, "heat")
    browser.type("er")
    browser.value('document.getElementById("search").blur()')
    browser.value("new Promise((done) => setTimeout(done, 500))")  # the pause before it would have asked, and more
    assert browser.value('document.getElementById("popup").hidden')


def test_titles_are_shown_as_they_are_and_none_is_obeyed(browser, address, models):
    open_page(browser, address)
    look_for(browser, "onerror")
    assert ATTACK in browser.value('document.getElementById("found").textContent')
    browser.press("Enter")
    browser.until(f"{PICKED}.length && {ANSWERED}")
    pick(browser, "m6")
    assert browser.value(PICKED) == [ATTACK, "m6"]  # without a title: the id
    listed = browser.value(LISTED)
    assert listed == lists_of(address, models, history=["m4", "m6"])
    assert ATTACK in "".join(part for column in listed for item in column for part in item)
    name_user(browser, ATTACK)
    assert len([told for told in browser.value(TOLD) if f"a user “{ATTACK}”" in told]) == 2
    assert browser.value("document.images.length") == 0
    assert browser.value("window.attacked") is None


def test_a_user_of_the_log_is_recommended_to_with_the_titles_of_his_history(browser, address, models):
    open_page(browser, address)
    name_user(browser, " u1 ")
    assert browser.value(LISTED) == lists_of(address, models, user="u1")


def test_of_many_titles_that_carry_an_item_the_rest_is_told_when_it_is_asked_for(browser, address, models):
    models[0].graph.gives[1:, 1:] = abs(models[0].graph.gives[1:, 1:])  # each of a history carries each
    open_page(browser, address)
    name_user(browser, "u2")
    summary, rest = browser.value(
        '[...document.querySelector(".model li details").childNodes].reduce((all, one, place) =>'
        'place ? [all[0], all[1] + one.textContent] : [one.textContent, ""], [])'
    )
    assert summary.startswith("because of ") and summary.endswith(" and 3 more")
    named = [*summary.removeprefix("because of ").removesuffix(" and 3 more").split(", ")]
    named += rest.removeprefix("then ").split(", ")
    assert sorted(named) == sorted(title or "m6" for title in TITLES[:6])


def test_an_answer_by_popularity_is_called_one(browser, address):
    open_page(browser, address)
    name_user(browser, "nobody")
    told = browser.value(TOLD)
    assert len([each for each in told if each.startswith("By popularity: ") and "a user “nobody”" in each]) == 2
    assert browser.value(LISTED)[0][:2] == [
        ["Heat (1995)", "id m1 · taken 15 times"],
        ["Alien (1979)", "id m2 · taken 14 times"],
    ]


def lists_of_u1(models, folder) -> Lists:
    path = folder / "teacher.csv"
    path.write_text(
        "user,rank,item,title,score,by\n"
        + "".join(f"u1,{rank},{item},,{-rank / 2},teacher\n" for rank, item in enumerate(["m7", "m6", "m1"], 1))
    )
    return Lists.read(path, models[0].files)


def test_lists_are_a_column_for_their_users_and_say_why_they_are_none_for_others(browser, models, tmp_path):
    lists = lists_of_u1(models, tmp_path)
    with served(app_of(models, lists={"teacher": lists})) as address:
        open_page(browser, address, width=360)
        assert browser.value(MODELS) == [*NAMES, "teacher"]
        facts = browser.value('document.querySelectorAll(".model > .note")[2].textContent')
        assert facts == f"precomputed for 1 user · version {lists.version}"
        name_user(browser, "u1")
        *ranked, looked_up = browser.value(LISTED)
        assert ranked == lists_of(address, models, user="u1")
        assert looked_up == [["Ran (1985)", "id m7 · score -0.50"], ["m6", "score -1.00"]]
        *_, latency, note = browser.value(TOLD)
        assert latency.startswith("Answered in ") and latency.endswith(" ms")
        assert note == "Looked up: made beforehand, from what was known then."
        assert browser.value('document.getElementById("heard").textContent').endswith("teacher: 2 titles.")
        browser.value('document.getElementById("user").value = ""')
        name_user(browser, "u2")
        browser.until(f"{TOLD}.at(-1) === \"Teacher holds no list of user 'u2'.\"")
        assert browser.value(f"{LISTED}.map((one) => one.length)") == [9, 9, 0]
        browser.value('document.querySelector("[name=way][value=titles]").click()')
        pick(browser, "heat")
        assert browser.value(f"{LISTED}.map((one) => one.length)") == [10, 10, 0]
        why = "Made beforehand for users of the log: there is no list for titles that are picked here."
        assert browser.value(TOLD)[-1] == why
        assert browser.value(WIDTH) == 360
        assert browser.told("Runtime.exceptionThrown") == []


def test_what_the_service_refuses_is_told_as_a_sentence(browser, models):
    with served(app_of(models, empty_history="refuse")) as address:
        open_page(browser, address)
        name_user(browser, "nobody")
        assert browser.value(TOLD) == [
            "The history holds nothing that the model knows: there is nothing to go by."
        ] * len(NAMES)
        browser.value('document.getElementById("user").value = "x".repeat(600)')  # more than can be typed
        browser.value('document.getElementById("user").dispatchEvent(new Event("input"))')
        browser.until(f'{TOLD}.every((told) => told === "Body.user: String should have at most 512 characters.")')


def test_a_service_that_has_ended_is_told_of(browser, models):
    with served(app_of(models)) as address:
        open_page(browser, address)
        pick(browser, "heat")
    browser.value('document.getElementById("search").focus()')
    browser.type("a")
    trouble = 'document.getElementById("search-trouble").textContent'
    browser.until(f"{trouble} !== ''")
    assert browser.value(trouble) == "The service does not answer."
    browser.value('document.querySelector("[name=way][value=user]").click()')
    browser.value('document.querySelector("[name=way][value=titles]").click()')
    browser.until(f'{TOLD}.join() === "The service does not answer.,The service does not answer."')


def test_a_key_is_asked_for_once_and_forgotten_with_the_page(browser, models):
    asked = '!document.getElementById("key-form").hidden'
    with served(app_of(models, api_key="schlüssel")) as address:
        open_page(browser, address, until=asked)
        assert browser.value(FOCUSED) == "key"
        assert not browser.value(READY)
        browser.type("a guess")
        browser.press("Enter")
        browser.until('document.getElementById("key-note").textContent === "The service does not take this key."')
        browser.value('document.getElementById("key").select()')
        browser.type("schlüssel")
        browser.press("Enter")
        browser.until(READY)
        assert not browser.value(asked)
        pick(browser, "heat")
        assert browser.value(f"{LISTED}.map((one) => one.length)") == [10, 10]
        open_page(browser, address, until=asked)


def test_a_model_that_was_taken_over_meanwhile_answers(browser, tmp_path):
    first, second = models_in(tmp_path)
    models = [first]
    with served(app_of(models)) as address:
        open_page(browser, address)
        assert browser.value(MODELS) == NAMES[:1]
        models[0] = second
        pick(browser, "heat")
        browser.until(ANSWERED)
        assert browser.value(MODELS) == NAMES[1:]
        assert browser.value(f"{LISTED}.map((one) => one.length)") == [10]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_wider_than_a_phone_and_a_model_has_a_column_where_there_is_room(browser, address, dark):
    open_page(browser, address, width=360, dark=dark)
    pick(browser, LONG[:30])
    name_user(browser, "u2")
    browser.value('document.querySelector("[name=way][value=titles]").click()')
    browser.until(ANSWERED)
    look_for(browser, "super")
    tops = '[...document.querySelectorAll(".model")].map((one) => one.getBoundingClientRect().top)'
    assert browser.value(WIDTH) == 360
    assert len(set(browser.value(tops))) == 2
    browser.show(1280, 800, dark=dark)
    assert len(set(browser.value(tops))) == 1
    colour = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) < 100) == dark
