"""The figures, as Plotly's JavaScript takes them: traces with data, layouts with what differs from figure to figure."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .blocks import Figure
from .calibration import Reliability
from .intervals import Estimate
from .overlap import Overlap

COLOURS = {  # of models; told apart in light and dark, and by the colour-blind (after Okabe & Ito)
    "popularity": "#9a8f80",
    "baseline": "#8a929c",
    "titles": "#e0a030",
    "self_distilled": "#cc79a7",
    "teacher": "#3f8fd2",
    "ensemble": "#7a6fd0",
    "distilled": "#12a37f",
}
OTHERS = ("#3f8fd2", "#12a37f", "#e0a030", "#cc79a7", "#d9663b", "#7a6fd0", "#8a929c", "#56b4e9")


def name_in_figure(name: str) -> str:
    """Returns a name as Plotly shows it as it is: it would read tags."""
    return html.escape(name)


def in_lines(name: str) -> str:
    """Returns a name for an axis, what stands in brackets in a line of its own: a phone has room for the figure."""
    return name_in_figure(name).replace(" (", "<br>(").replace(" → ", " →<br>")


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Returns a layout's axis."""
    return {"title": {"text": title}, **more}


def points(
    rows: Sequence[tuple[str, Estimate, str, str]], x_title: str, says: str, *, zero: bool, number: str = ".4f"
) -> Figure:
    """Returns means with intervals, one below the other.

    Args:
        rows: Name, mean with interval, colour, and what is told beside it when the pointer is over it; first on top.
        x_title: Of what the means are.
        says: See `Figure`.
        zero: Whether a line at 0 matters.
        number: Format of the figures.
    """
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [found.mean],
            "y": [in_lines(name)],
            "error_x": _error(found) | {"color": colour, "thickness": 2, "width": 6},
            "marker": {"color": colour, "size": 12},
            "customdata": [[found.low, found.high, html.escape(more)]],
            "hovertemplate": f"<b>%{{y}}</b><br>%{{x:{number}}} [%{{customdata[0]:{number}}}, "
            f"%{{customdata[1]:{number}}}]<br>%{{customdata[2]}}<extra></extra>",
            "showlegend": False,
        }
        for name, found, colour, more in rows
    ]
    layout: dict[str, Any] = {
        "xaxis": axis(x_title, tickformat=number, nticks=6, zeroline=zero),
        "yaxis": {"autorange": "reversed", "type": "category", "automargin": True},
        "height": 110 + 50 * len(rows),
    }
    return Figure(says, traces, layout)


def grouped_points(
    groups: Sequence[str], series: Sequence[tuple[str, str, Sequence[Estimate | None]]], y_title: str, says: str
) -> Figure:
    """Returns means with intervals of some series over the same groups.

    Args:
        groups: Their names, from left to right.
        series: Name, colour, and for each group a mean with interval, None where the group is empty.
        y_title: Of what the means are.
        says: See `Figure`.
    """
    traces = []
    for place, (name, colour, found) in enumerate(series):
        there = [(at, each) for at, each in enumerate(found) if each is not None]
        shift = 0.22 * (place - (len(series) - 1) / 2)
        errors = [_error(each) for _, each in there]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name_in_figure(name),
                "x": [at + shift for at, _ in there],
                "y": [each.mean for _, each in there],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [error["array"][0] for error in errors],
                    "arrayminus": [error["arrayminus"][0] for error in errors],
                    "color": colour,
                    "thickness": 2,
                    "width": 5,
                },
                "marker": {"color": colour, "size": 10},
                "customdata": [[groups[at], each.low, each.high] for at, each in there],
                "hovertemplate": "<b>%{customdata[0]}</b><br>%{y:+.4f} [%{customdata[1]:+.4f}, %{customdata[2]:+.4f}]",
            }
        )
    ticks = {"tickmode": "array", "tickvals": list(range(len(groups))), "ticktext": list(groups)}
    layout = {
        "xaxis": {**ticks, "range": [-0.5, len(groups) - 0.5]},
        "yaxis": axis(y_title, tickformat="+.3f", zeroline=True),
    }
    return Figure(says, traces, layout)


@dataclass(frozen=True)
class Line:
    """A curve.

    name: Told when the pointer is over it.
    group: Told in the legend, once for all lines of the group.
    dash: "solid" or "dot".
    """

    name: str
    group: str
    colour: str
    dash: str
    x: Sequence[float]
    y: Sequence[float]


def lines(series: Sequence[Line], x_title: str, y_title: str, says: str) -> Figure:
    """Returns curves in one figure."""
    first = {line.group: place for place, line in reversed(list(enumerate(series)))}
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name_in_figure(line.group),
            "legendgroup": line.group,
            "showlegend": first[line.group] == place,
            "x": list(line.x),
            "y": list(line.y),
            "line": {"color": line.colour, "dash": line.dash, "width": 2},
            "marker": {"size": 5},
            "hovertemplate": f"{name_in_figure(line.name)}: %{{y:.4f}} after %{{x:,.0f}} s<extra></extra>",
        }
        for place, line in enumerate(series)
    ]
    layout = {"xaxis": axis(x_title, rangemode="tozero"), "yaxis": axis(y_title), "height": 420}
    return Figure(says, traces, layout)


def stacked_shares(groups: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], says: str) -> Figure:
    """Returns bars that sum to 1, one for each group, split by the series' shares."""
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name_in_figure(name),
            "y": list(groups),
            "x": list(shares),
            "marker": {"color": OTHERS[place % len(OTHERS)]},
            "hovertemplate": "%{y}: %{x:.1%}",
        }
        for place, (name, shares) in enumerate(series)
    ]
    layout = {
        "barmode": "stack",
        "xaxis": axis("mean weight", tickformat=".0%", range=[0, 1]),
        "yaxis": {"autorange": "reversed", "type": "category", "automargin": True},
        "legend": {"traceorder": "normal"},
        "height": 130 + 36 * len(groups),
    }
    return Figure(says, traces, layout)


def bars(names: Sequence[str], values: Sequence[float], x_title: str, says: str, number: str = ",.1f") -> Figure:
    """Returns horizontal bars, the first on top."""
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [name_in_figure(name) for name in names],
        "x": list(values),
        "marker": {"color": OTHERS[0]},
        "hovertemplate": f"%{{y}}: %{{x:{number}}}<extra></extra>",
        "showlegend": False,
    }
    layout = {
        "xaxis": axis(x_title, nticks=6),
        "yaxis": {"autorange": "reversed", "type": "category", "automargin": True},
        "height": 110 + 30 * len(names),
    }
    return Figure(says, [trace], layout)


def overlap_figure(pairs: Sequence[tuple[str, Overlap]], says: str) -> Figure:
    """Returns how many items lists have in common: share of users by number, pair by pair, each with its colour."""
    traces = [
        {
            "type": "bar",
            "name": name_in_figure(f"{pair.first} and {pair.second}"),
            "x": list(range(len(pair.shares))),
            "y": pair.shares.tolist(),
            "marker": {"color": colour},
            "hovertemplate": "%{x} in common: %{y:.1%}",
        }
        for colour, pair in pairs
    ]
    layout = {
        "barmode": "group",
        "xaxis": axis("items that both lists have among their first ten", dtick=1),
        "yaxis": axis("share of interactions", tickformat=".0%"),
    }
    return Figure(says, traces, layout)


def reliability_figure(models: Sequence[tuple[str, Reliability]], says: str) -> Figure:
    """Returns accuracy against confidence, model by model, each with its colour, and the line where they agree."""
    most = max(float(each.confidence.max()) for _, each in models)
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "name": "as sure as it is right",
        "x": [0, most],
        "y": [0, most],
        "line": {"dash": "dot", "color": COLOURS["popularity"], "width": 1.5},
        "hoverinfo": "skip",
    }
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name_in_figure(each.model),
            "x": each.confidence.tolist(),
            "y": each.accuracy.tolist(),
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": (each.high - each.accuracy).tolist(),
                "arrayminus": (each.accuracy - each.low).tolist(),
                "color": colour,
                "thickness": 1.5,
                "width": 4,
            },
            "line": {"color": colour, "width": 2},
            "marker": {"size": 8},
            "customdata": each.sizes.tolist(),
            "hovertemplate": "says %{x:.1%}, is right %{y:.1%} (%{customdata:,} lists)",
        }
        for colour, each in models
    ]
    layout = {
        "xaxis": axis("probability of the first item", tickformat=".1%", rangemode="tozero"),
        "yaxis": axis("share that the user took next", tickformat=".1%", rangemode="tozero"),
        "height": 420,
    }
    return Figure(says, [diagonal, *traces], layout)


def _error(found: Estimate) -> dict[str, Any]:
    if found.low is None or found.high is None:
        return {"type": "data", "symmetric": False, "array": [0], "arrayminus": [0]}
    return {
        "type": "data",
        "symmetric": False,
        "array": [found.high - found.mean],
        "arrayminus": [found.mean - found.low],
    }
