"""One table, told as Markdown, as LaTeX and on the terminal."""

import os
from dataclasses import dataclass

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "±": r"$\pm$",
    "−": "$-$",
    "<": "$<$",
    ">": "$>$",
}


@dataclass(frozen=True)
class TextTable:
    """Cells as they are to be read: the first column names the row, the others hold figures.

    rows: Each as long as `header`.
    """

    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """Returns the table without its title."""
        rule = ["---"] + ["---:"] * (len(self.header) - 1)
        cells = ([cell.replace("|", r"\|") for cell in line] for line in (self.header, rule, *self.rows))
        return "".join(f"| {' | '.join(line)} |\n" for line in cells)

    def latex(self) -> str:
        """Returns a `tabular` for the package booktabs, its title in a comment."""
        header, *rows = [" & ".join(map(latex_text, line)) + r" \\" for line in (self.header, *self.rows)]
        columns = "l" + "r" * (len(self.header) - 1)
        lines = [f"% {self.title}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", header, r"\midrule", *rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])

    def transposed(self) -> "TextTable":
        """Returns the table with rows and columns exchanged."""
        header, *rows = [list(line) for line in zip(self.header, *self.rows, strict=True)]
        return TextTable(self.title, header, rows)

    def show(self) -> None:
        """Prints the table; on a terminal, cells that do not fit go on in the next line, a file has room for all."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title), box=SIMPLE_HEAD)  # Text: square brackets are no markup
        for place, name in enumerate(self.header):
            table.add_column(Text(name), justify="right" if place else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        console = Console()
        if not console.is_terminal and "COLUMNS" not in os.environ:
            whole = console.measure(table, options=console.options.update(max_width=10_000)).maximum
            console.width = max(console.width, whole)
        console.print(table)


def users_told(users: int, interactions: int) -> str:
    """Returns "943 users", or "8,696 users, 19,733 interactions" where some have several."""
    return f"{users:,} users" if users == interactions else f"{users:,} users, {interactions:,} interactions"


def latex_text(text: str) -> str:
    """Returns `text` with LaTeX's special characters escaped."""
    return "".join(LATEX.get(character, character) for character in text)
