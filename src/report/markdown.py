"""A report as Markdown: the tables of the page, without its figures."""

import re
from collections.abc import Sequence

from ..evaluation.tables import TextTable
from .blocks import Block, ExampleUser, Figure, Listed, Section

# What Markdown, or HTML within it, would read as its own: not an underscore within a word, nor brackets without a link.
SPECIAL = re.compile(r"([\\`*<>&|]|~(?=~)|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:]))")


def markdown(title: str, facts: Sequence[tuple[str, str]], verdicts: Sequence[str], sections: Sequence[Section]) -> str:
    """Returns the whole report; titles of items and names are shown as they are, whatever they hold."""
    told = [f"# {plain(title)}", *(f"**{plain(verdict)}**" for verdict in verdicts)]
    told += [f"{plain(run)}: {plain(about)}" for run, about in facts]
    for section in sections:
        told += [f"## {plain(section.title)}", *(_block(block) for block in section.blocks)]
    return "\n\n".join(told) + "\n"


def plain(text: str) -> str:
    """Returns text in one line whose characters mean themselves."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _block(block: Block) -> str:
    if isinstance(block, TextTable):
        cells = TextTable(block.title, *_escaped(block))
        return f"**{plain(block.title)}**\n\n{cells.markdown().rstrip()}"
    if isinstance(block, Figure):
        return f"(Figure in report.html: {plain(block.says)})"
    if isinstance(block, ExampleUser):
        return _example(block)
    return plain(block.text)


def _escaped(table: TextTable) -> tuple[list[str], list[list[str]]]:
    header, *rows = [[plain(cell).replace(r"\|", "|") for cell in line] for line in (table.header, *table.rows)]
    return header, rows  # `TextTable.markdown` escapes the bars itself


def _example(user: ExampleUser) -> str:
    before = f"… {user.earlier} earlier, " if user.earlier else ""
    lines = [
        f"### {plain(user.user)} ({user.why})",
        f"- History: {before}{', '.join(map(_item, user.history))}",
        f"- Next: {_item(user.target)}",
        *(
            f"- {plain(each.model)}, target at rank {each.rank}: {', '.join(map(_item, each.items))}"
            for each in user.lists
        ),
    ]
    return "\n".join([lines[0], "", *lines[1:]])


def _item(item: Listed) -> str:
    told = f"{plain(item.name)} ({plain(item.beside)})" if item.beside else plain(item.name)
    return f"**{told}**" if item.is_target else told
