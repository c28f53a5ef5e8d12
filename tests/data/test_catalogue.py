import pytest

from src.core.errors import UserError
from src.data.catalogue import Catalogue

CATALOGUE = Catalogue(["4", "10", "x"], ["Kite", "Top", "Kite"], ["Kite; Toys", "Top", "Kite; Outdoors"])


def test_items_are_numbered_from_one():
    assert CATALOGUE.num_items == 3
    assert [CATALOGUE.title(item) for item in (1, 2, 3)] == ["Kite", "Top", "Kite"]
    assert CATALOGUE.text(3) == "Kite; Outdoors"
    assert CATALOGUE.titles[0] == CATALOGUE.title(1)


def test_raw_ids_and_numbers_are_inverse_even_where_titles_are_shared():
    assert [CATALOGUE.number(CATALOGUE.raw_id(item)) for item in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize("item", [0, -1, 4])
def test_padding_and_numbers_outside_name_no_item(item):
    for lookup in (CATALOGUE.title, CATALOGUE.text, CATALOGUE.raw_id):
        with pytest.raises(IndexError):
            lookup(item)


def test_an_unknown_raw_id_is_named():
    with pytest.raises(UserError, match="'77' is not in the catalogue of 3 items"):
        CATALOGUE.number("77")
