from src.evaluation.tables import TextTable, latex_text, users_told

TABLE = TextTable("Two of 100%", ["Model", "HR@1", "p"], [["a_b|c", "0.1 ± 0.2", "< 0.01"], ["d", "−0.3", "0.5"]])


def test_markdown_by_hand():
    assert TABLE.markdown().splitlines() == [
        "| Model | HR@1 | p |",
        "| --- | ---: | ---: |",
        r"| a_b\|c | 0.1 ± 0.2 | < 0.01 |",
        "| d | −0.3 | 0.5 |",
    ]


def test_latex_by_hand():
    assert TABLE.latex().splitlines() == [
        "% Two of 100%",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"Model & HR@1 & p \\",
        r"\midrule",
        r"a\_b|c & 0.1 $\pm$ 0.2 & $<$ 0.01 \\",
        r"d & $-$0.3 & 0.5 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_every_special_character_is_escaped_once():
    assert latex_text(r"\{50%} & $1 #2 ~x^y") == (
        r"\textbackslash{}\{50\%\} \& \$1 \#2 \textasciitilde{}x\textasciicircum{}y"
    )


def test_rows_and_columns_exchanged():
    turned = TABLE.transposed()
    assert turned.header == ["Model", "a_b|c", "d"]
    assert turned.rows == [["HR@1", "0.1 ± 0.2", "−0.3"], ["p", "< 0.01", "0.5"]]


def test_the_terminal_shows_every_cell_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    TextTable("[red]", ["Model", "Interval"], [["[bold]", "[−0.1, 0.2]"]]).show()
    printed = capsys.readouterr().out
    for cell in ("[red]", "Model", "Interval", "[bold]", "[−0.1, 0.2]"):
        assert cell in printed


def test_a_narrow_terminal_loses_no_figure(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    TextTable("t", ["Model"] * 5, [["0123456789"] * 5]).show()
    printed = capsys.readouterr().out
    assert all(printed.count(digit) == 5 for digit in "0123456789") and "…" not in printed


def test_in_a_file_every_row_is_one_line(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    TextTable("t", ["Model"] * 20, [["0123456789"] * 20]).show()
    assert any(line.count("0123456789") == 20 for line in capsys.readouterr().out.splitlines())


def test_interactions_are_told_where_users_have_several():
    assert users_told(1943, 1943) == "1,943 users"
    assert users_told(8696, 19733) == "8,696 users, 19,733 interactions"
