"""The page as a browser shows it: nothing fails, everything is drawn, nothing is asked of a network."""

import pytest

from src.report.report import write_report
from src.report.settings import ReportSettings
from tests.browser import DRAWN, Browser, chromium
from tests.report.runs import HOSTILE, NAMES, dataset_in, write_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]

EMPTY = '[...document.querySelectorAll(".figure")].filter((one) => !one.querySelector("svg .trace path"))'
DRAWN_TRACES = 'document.querySelectorAll(".figure .trace").length'
GIVEN_TRACES = """[...document.querySelectorAll("figure script")]
  .reduce((sum, one) => sum + JSON.parse(one.textContent).data.length, 0)"""
WIDER = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of one run, and of two side by side."""
    folder = tmp_path_factory.mktemp("pages")
    dataset = dataset_in(folder)
    runs = [write_run(folder / f"result_{name}", dataset, *NAMES, seeds=2) for name in ("one", "two")]
    return write_report(runs[:1], runs[0], ReportSettings()), write_report(runs, folder, ReportSettings())


@pytest.fixture(scope="module")
def browser():
    with Browser(chromium()) as found:
        yield found


@pytest.mark.parametrize("place", [0, 1], ids=["one run", "two runs"])
@pytest.mark.parametrize(("width", "height", "phone"), [(1280, 900, False), (390, 844, True)], ids=["desktop", "phone"])
def test_every_figure_is_drawn_and_nothing_fails_or_asks_for_a_network(pages, browser, place, width, height, phone):
    browser.show(width, height, phone=phone)
    browser.open(pages[place])
    browser.value(DRAWN)
    assert browser.told("Runtime.exceptionThrown") == []
    assert [entry for entry in browser.told("Log.entryAdded") if entry["entry"]["level"] in ("error", "warning")] == []
    asked = {request["request"]["url"].partition("#")[0] for request in browser.told("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {pages[place].as_uri()}
    assert browser.value('document.querySelectorAll(".figure").length') == (11, 23)[place]
    assert browser.value(f"{EMPTY}.length") == 0
    assert browser.value(f"{DRAWN_TRACES} === {GIVEN_TRACES}")
    assert browser.value("window.attacked") is None
    assert browser.value(WIDER) <= 0


def test_titles_are_shown_as_they_are(pages, browser):
    browser.show(1280, 900)
    browser.open(pages[0])
    shown = browser.value(
        '[...document.querySelectorAll(".user li, .next strong")].map((one) => one.textContent).join("\\n")'
    )
    assert all(title in shown for title in HOSTILE)


def test_figures_take_the_colours_of_the_scheme(pages, browser):
    ink = 'getComputedStyle(document.querySelector(".figure .xtick text")).fill'
    colours = []
    for dark in (False, True):
        browser.show(1280, 900, dark=dark)
        browser.open(pages[0])
        browser.value(DRAWN)
        colours.append((browser.value(ink), browser.value("getComputedStyle(document.body).backgroundColor")))
    assert len(set(colours)) == 2 and colours[0][0] != colours[1][0] and colours[0][1] != colours[1][1]


def test_a_point_tells_its_figures_when_the_pointer_is_over_it(pages, browser):
    browser.show(1280, 900)
    browser.open(pages[0])
    browser.value(DRAWN)
    x, y = browser.value(
        '(() => { const at = document.querySelector(".figure .trace path.point").getBoundingClientRect();'
        "return [at.x + at.width / 2, at.y + at.height / 2]; })()"
    )
    for shift in (3, 0):
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + shift, y=y)
    told = browser.value(
        "new Promise((done) => { const look = () => { const found = document.querySelector('.hoverlayer .hovertext');"
        "found ? done(found.textContent) : setTimeout(look, 20); }; look(); })"
    )
    assert "Popularity" in told and "[" in told
