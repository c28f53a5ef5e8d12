"""A report as one HTML file that needs no network: styles, figures and Plotly itself lie within it."""

import base64
import gzip
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from ..evaluation.tables import TextTable
from .blocks import ExampleUser, Figure, Section, Text

FOLDED_FROM = 12  # a table with more rows is shown when it is asked for
TEMPLATES = files(__package__) / "templates"


def page(title: str, facts: Sequence[tuple[str, str]], verdicts: Sequence[str], sections: Sequence[Section]) -> str:
    """Returns the whole page. Whatever a text holds, it is shown as text.

    Args:
        title: Of the page.
        facts: Name and value of what stands under the title.
        verdicts: A sentence for each run.
        sections: In their order.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests |= {"text": _is(Text), "table": _is(TextTable), "figure": _is(Figure), "user": _is(ExampleUser)}
    template = environment.from_string(_read("report.html.jinja"))
    return template.render(
        title=title,
        facts=facts,
        verdicts=verdicts,
        sections=sections,
        styles=Markup(_read("report.css")),
        script=Markup(_read("report.js")),
        plotly=Markup(_plotly()),
        json=in_script,
        folded_from=FOLDED_FROM,
    )


def in_script(value: Any) -> Markup:
    """Returns JSON that may stand in a `<script>`: nothing in it can end the element."""
    return Markup(json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"))


def _is(kind: type) -> Any:
    return lambda block: isinstance(block, kind)


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """Returns Plotly's JavaScript, gzipped, in base64: 2.0 MB where it is 4.8 MB; the page inflates it."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
