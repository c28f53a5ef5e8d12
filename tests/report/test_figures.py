"""Every figure is one that Plotly knows: its Python package refuses unknown properties and wrong values."""

import plotly.graph_objects as go
import pytest

from src.report.blocks import Figure
from src.report.calibration import reliability
from src.report.figures import (
    COLOURS,
    Line,
    bars,
    grouped_points,
    lines,
    overlap_figure,
    points,
    reliability_figure,
    stacked_shares,
)
from src.report.intervals import Estimate
from src.report.overlap import overlap
from src.report.stored import SUBJECTS
from tests.report.models import model, trained

ONE, OTHER = Estimate(0.2, 0.1, 0.4), Estimate(-0.1, None, None)
PAIR = (model(trained([1, 2], [[1, 2], [3, 4]], name="A <b>")), model(trained([2, 9], [[1, 2], [5, 6]], name="B")))


def checked(figure: Figure) -> Figure:
    go.Figure({"data": figure.traces, "layout": figure.layout})
    return figure


def test_every_subject_has_a_colour():
    assert set(COLOURS) == set(SUBJECTS) and len(set(COLOURS.values())) == len(COLOURS)


def test_points_show_means_and_their_intervals_in_order():
    figure = checked(points([("A (x)", ONE, "#000000", "more"), ("<B>", OTHER, "#111111", "")], "x", "s", zero=True))
    assert [trace["x"] for trace in figure.traces] == [[0.2], [-0.1]]
    assert [trace["y"] for trace in figure.traces] == [["A<br>(x)"], ["&lt;B&gt;"]]
    assert figure.traces[0]["error_x"]["array"] == pytest.approx([0.2])
    assert figure.traces[0]["error_x"]["arrayminus"] == pytest.approx([0.1])
    assert figure.traces[1]["error_x"]["array"] == [0]
    assert figure.layout["xaxis"]["zeroline"]


def test_groups_stand_side_by_side_and_empty_ones_are_left_out():
    figure = checked(
        grouped_points(["a", "b"], [("A", "#000000", [ONE, None]), ("B", "#111111", [OTHER, ONE])], "y", "s")
    )
    first, second = figure.traces
    assert (first["y"], second["y"]) == ([0.2], [-0.1, 0.2])
    assert first["x"][0] < 0 < second["x"][0] < 0.5 < second["x"][1]
    assert figure.layout["xaxis"]["ticktext"] == ["a", "b"]


def test_curves_bars_and_shares_hold_their_values():
    series = [Line(f"A, seed {seed}", "A", "#000000", "dot", [1.0, 2.0], [0.1, 0.2]) for seed in (0, 1)]
    curve, again = checked(lines(series, "x", "y", "s")).traces
    assert (curve["x"], curve["y"], curve["line"]["dash"]) == ([1.0, 2.0], [0.1, 0.2], "dot")
    assert (curve["name"], curve["showlegend"], again["showlegend"]) == ("A", True, False)
    bar = checked(bars(["A", "B"], [3.0, 4.0], "x", "s")).traces[0]
    assert (bar["y"], bar["x"]) == (["A", "B"], [3.0, 4.0])
    first, second = checked(stacked_shares(["g"], [("e1", [0.3]), ("e2", [0.7])], "s")).traces
    assert (first["x"], second["x"]) == ([0.3], [0.7])


def test_lists_in_common_are_told_as_shares():
    (trace,) = checked(overlap_figure([("#000000", overlap(*PAIR, k=2))], "s")).traces
    assert (trace["x"], trace["y"]) == ([0, 1, 2], [0.5, 0.0, 0.5])
    assert trace["name"] == "A &lt;b&gt; and B"


def test_reliability_stands_beside_the_line_where_both_agree():
    found = reliability(PAIR[0], bins=1)
    diagonal, trace = checked(reliability_figure([("#000000", found)], "s")).traces
    assert diagonal["x"] == diagonal["y"] == [0, 0.5]
    assert (trace["x"], trace["y"], trace["customdata"]) == ([0.5], [0.5], [2])
    assert trace["error_y"]["arrayminus"][0] > 0
