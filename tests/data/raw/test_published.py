import logging

import pytest

from src.core.errors import UserError
from src.data.raw.published import read_amazon_items, read_nested_reviews, read_steam_items, read_tags
from tests.data.published import FIXTURES
from tests.exp.keys import composed


def settings(preset, *overrides):
    return composed(f"dataset={preset}", *overrides).dataset


def test_of_an_amazon_items_lines_the_first_counts_and_titles_are_unescaped():
    items = read_amazon_items(FIXTURES / "amazon_2018" / "meta_Toys.json", settings("amazon_2018"))
    assert items.rows() == [("B1", "Kite & Co", "Kite & Co"), ("B2", 'Top 18"', 'Top 18"'), ("B3", "Yo-Yo", "Yo-Yo")]


def test_an_escaped_line_break_is_a_space(tmp_path):
    path = tmp_path / "meta.json"
    path.write_text('{"asin": "B1", "title": "Two&#10;lines &amp;amp; more"}\n')
    assert read_amazon_items(path, settings("amazon_2018"))["title"].to_list() == ["Two lines &amp; more"]


def test_several_tags_at_once_are_one_interaction():
    path = FIXTURES / "lastfm_hetrec" / "user_taggedartists-timestamps.dat"
    log = read_tags(path, settings("lastfm_hetrec"))
    assert log["item"].to_list() == ["1", "3", "2", "1"]  # the first artist twice at once, and once again later


def test_games_without_an_id_are_left_out():
    items = read_steam_items(FIXTURES / "steam" / "steam_games.json", settings("steam"))
    assert items["item"].to_list() == ["10", "20", "30"]


def test_reviews_without_a_year_are_left_out_and_told(caplog):
    path = FIXTURES / "steam_australian" / "australian_user_reviews.json"
    with caplog.at_level(logging.WARNING):
        log = read_nested_reviews(path, settings("steam_australian"))
    assert log["item"].to_list() == ["20", "10", "30", "10"]
    day = 86_400_000_000
    assert log["timestamp"][0] == 15_293 * day  # 2011-11-15
    assert "1 of 5 reviews tell no year" in caplog.text


def test_a_user_who_is_written_twice_reviewed_once(tmp_path):
    path = FIXTURES / "steam_australian" / "australian_user_reviews.json"
    twice = tmp_path / "reviews.json"
    twice.write_text(2 * path.read_text())
    chosen = settings("steam_australian")
    assert read_nested_reviews(twice, chosen).rows() == read_nested_reviews(path, chosen).rows()


def test_another_file_than_that_of_reviews_is_told(tmp_path):
    path = tmp_path / "reviews.json"
    path.write_text("{'user_id': 'a', 'reviews': 'none'}\n")
    with pytest.raises(UserError, match="has no lines of"):
        read_nested_reviews(path, settings("steam_australian"))
