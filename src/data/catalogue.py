"""The one owner of raw id ↔ item number ↔ title."""

from functools import cached_property

from ..core.errors import UserError


class Catalogue:
    """All items of a dataset, numbered 1..num_items; 0 is padding and no item.

    In the three lists index i is item i + 1. Two items may share a title: a title never identifies an item.

    Args:
        raw_ids: The raw log's ids, each once.
        titles: What a prompt shows.
        texts: Title and whatever else is known in words, e.g. "Toy Story (1995); Animation, Children's, Comedy".
    """

    def __init__(self, raw_ids: list[str], titles: list[str], texts: list[str]) -> None:
        self.raw_ids, self.titles, self.texts = raw_ids, titles, texts

    @property
    def num_items(self) -> int:
        return len(self.raw_ids)

    def raw_id(self, item: int) -> str:
        return self.raw_ids[self._index(item)]

    def title(self, item: int) -> str:
        return self.titles[self._index(item)]

    def text(self, item: int) -> str:
        return self.texts[self._index(item)]

    def number(self, raw_id: str) -> int:
        """Returns the item number of a raw id.

        Raises:
            UserError: The catalogue holds no such item.
        """
        try:
            return self._numbers[raw_id]
        except KeyError:
            raise UserError(
                f"Item {raw_id!r} is not in the catalogue of {self.num_items} items: "
                "give a raw id that occurs in the prepared log (column raw_id of items.parquet)."
            ) from None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {raw_id: item for item, raw_id in enumerate(self.raw_ids, start=1)}

    def _index(self, item: int) -> int:
        if not 1 <= item <= self.num_items:  # without this, 0 (padding) would read the last item
            raise IndexError(f"item {item} is not in 1..{self.num_items}")
        return item - 1
