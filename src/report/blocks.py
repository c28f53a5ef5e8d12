"""What a report is made of: sections of paragraphs, tables, figures and example users."""

from dataclasses import dataclass
from typing import Any

from ..evaluation.tables import TextTable


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text.

    is_missing: Whether it says that an input of the section is not there.
    """

    text: str
    is_missing: bool = False


@dataclass(frozen=True)
class Figure:
    """A Plotly figure, as its JavaScript takes it.

    says: What it shows, in a sentence, below it and for those who cannot see it.
    traces: With data alone and colours of their own.
    layout: Without what all figures share (`figures.layout`).
    """

    says: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]


@dataclass(frozen=True)
class Listed:
    """An item in a list of an example user.

    title: Empty where the log came without titles.
    is_target: Whether it is what the user took next.
    """

    title: str
    raw_id: str
    is_target: bool = False

    @property
    def name(self) -> str:
        """What it is called: its title, or its raw id where it has none."""
        return self.title or self.raw_id

    @property
    def beside(self) -> str:
        """Its raw id, where that is not its name already."""
        return self.raw_id if self.title else ""


@dataclass(frozen=True)
class Recommended:
    """What one model put first for an example user, and at which rank the target came."""

    model: str
    rank: str
    items: list[Listed]


@dataclass(frozen=True)
class ExampleUser:
    """A user whose history, target and lists are shown.

    why: Chosen as what, e.g. "largest gain".
    earlier: Items of the history before those that are shown.
    """

    user: str
    why: str
    earlier: int
    history: list[Listed]
    target: Listed
    lists: list[Recommended]


Block = Text | TextTable | Figure | ExampleUser


@dataclass(frozen=True)
class Section:
    """A part of the report under its heading."""

    title: str
    blocks: list[Block]

    @property
    def anchor(self) -> str:
        """Its place in a page's address."""
        return "-".join(self.title.lower().split())


def missing(what: str) -> Text:
    """Returns the sentence that stands where an input is not there."""
    return Text(what, is_missing=True)
