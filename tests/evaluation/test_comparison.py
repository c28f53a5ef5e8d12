import json

import torch

from src.evaluation.comparison import comparison_of, tables, write_comparison
from src.evaluation.significance import Model, compare_models

RANKS = torch.tensor([1] * 8 + [9] * 2)
USER = torch.arange(10)
SETTINGS = {"baseline": 0, "confidence": 0.9, "resamples": 4000, "seed": 0}


def test_the_tables_by_hand():
    models = [Model("one", [RANKS]), Model("two", [11 - RANKS, 11 - RANKS], "2 student seeds")]
    means, differences = tables(compare_models(models, USER, metrics=["HR@5", "HR@1"], **SETTINGS))
    assert means.title == "Means over 10 users, 90% confidence intervals"
    assert means.header == ["Model", "± over", "HR@5", "HR@1"]
    assert [row[:2] for row in means.rows] == [["one", ""], ["two", "2 student seeds"]]
    assert means.rows[0][2].startswith("0.8000 [0.5") and means.rows[1][2].startswith("0.2000 ± 0.0000 [0.")
    assert differences.title == "Differences to one, 10 users, 90% confidence intervals"
    assert [row[:2] + row[3:4] for row in differences.rows] == [
        ["two", "HR@5", "−75.0%"], ["two", "HR@1", "−100.0%"],
    ]  # fmt: skip
    assert differences.rows[0][2].startswith("−0.6000 [−1.0000, ")
    many = Model("many", [RANKS.repeat(10)]), Model("two", [RANKS.repeat(10) + 1])
    _, clear = tables(compare_models(many, torch.arange(100), metrics=["HR@1"], **SETTINGS))
    assert clear.rows[0][4:] == ["< 0.0001", "0.0002", "0.0002"]  # the least that 4,000 sets of signs can show


def test_without_a_relative_improvement_its_cell_is_empty():
    models = [Model("one", [torch.tensor([9, 9])]), Model("two", [torch.tensor([1, 9])])]
    _, differences = tables(compare_models(models, torch.arange(2), metrics=["HR@5"], **SETTINGS))
    assert differences.rows[0][3] == ""


def test_steps_have_a_table_of_their_own_which_says_from_where_to_where():
    models = [Model("one", [RANKS]), Model("two", [RANKS + 1]), Model("three", [11 - RANKS])]
    found = compare_models(models, USER, metrics=["HR@1"], steps=[(0, 1), (1, 2)], **SETTINGS)
    *_, steps = tables(found)
    assert steps.title == "What the gain is made of, 10 users, 90% confidence intervals"
    assert [row[:1] for row in steps.rows] == [["one → two"], ["two → three"]]
    assert steps.rows[0][2].startswith("−0.8000 [")


def test_titles_tell_interactions_where_users_have_several():
    models = [Model("one", [RANKS]), Model("two", [RANKS + 1])]
    for table in tables(compare_models(models, USER // 2, metrics=["HR@1"], **SETTINGS)):
        assert "5 users, 10 interactions, 90% confidence intervals" in table.title
        assert "± over" not in table.header  # each was trained once


def test_a_comparison_is_written_and_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    before = torch.arange(200) % 19 + 1
    models = [Model("before", [before]), Model("after_it", [(before - 2).clamp(min=1)])]
    settings = {**SETTINGS, "confidence": 0.95, "resamples": 2000}
    comparison = compare_models(models, torch.arange(200), metrics=["NDCG@10"], **settings)
    write_comparison(comparison, tmp_path / "deep" / "new")
    text = (tmp_path / "deep" / "new" / "comparison.md").read_text(encoding="utf-8")
    assert "## Means over 200 users, 95% confidence intervals\n\n| Model | NDCG@10 |" in text
    assert "## Differences to before" in text and "2,000 resamples" in text
    latex = (tmp_path / "deep" / "new" / "comparison.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2 and r"after\_it" in latex
    kept = json.loads((tmp_path / "deep" / "new" / "comparison.json").read_text(encoding="utf-8"))
    assert kept["differences"][0]["difference"] == comparison.differences[0].difference
    assert kept["means"][1]["high"] == comparison.means[1].high
    assert comparison_of(kept) == comparison
    for table in tables(comparison):
        table.show()
    printed = capsys.readouterr().out
    assert "after_it" in printed and "p (Holm)" in printed
