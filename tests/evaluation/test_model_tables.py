from src.evaluation.model_tables import EvaluatedModel, mean_of_trainings, metrics_table, slices_markdown


def row(name: str, figure: float, ms_per_1000_users: float, parameters: int) -> EvaluatedModel:
    accuracy = {f"{kind}@{k}": figure for kind in ("HR", "NDCG", "Recall", "MRR") for k in (1, 2)}
    lists = {"Coverage@1": 0.1, "Coverage@2": 0.25, "ARP@1": 9.0, "ARP@2": 1234.56, "Cross-entropy": figure + 1}
    empty = {"n": 0, "HR@2": None, "NDCG@2": None}
    slices = {"target popularity": {"head": {"n": 4, "HR@2": figure, "NDCG@2": figure / 2}, "cold": empty}}
    slices |= {"history length": {"1+": empty}}
    return EvaluatedModel(name, accuracy | lists, slices, parameters, ms_per_1000_users)


MODELS = "| Student (gru) HR@2 | Student (gru) NDCG@2 | Teacher HR@2 | Teacher NDCG@2 |"
ROWS = [row("Student (gru)", 0.25, 500.0, 12345), row("Teacher", 1.0, 2e6, 7)]


def test_the_table_holds_every_models_figures():
    table = metrics_table(ROWS, [1, 2], "tiny")
    accuracy = ["HR@1", "HR@2", "NDCG@1", "NDCG@2", "Recall@1", "Recall@2", "MRR@1", "MRR@2"]
    assert table.header == [
        "Model",
        *accuracy,
        "Cross-entropy",
        "Coverage@2",
        "ARP@2",
        "Parameters",
        "ms / 1,000 users",
    ]
    assert table.rows == [
        ["Student (gru)", *["0.2500"] * 8, "1.2500", "0.2500", "1,234.6", "12,345", "500.0"],
        ["Teacher", *["1.0000"] * 8, "2.0000", "0.2500", "1,234.6", "7", "2,000,000.0"],
    ]


def test_figures_of_a_version_without_cross_entropy_leave_its_cell_empty():
    old = row("Student", 0.25, 500.0, 7)
    del old.metrics["Cross-entropy"]
    assert metrics_table([old], [1, 2], "tiny").rows[0][8:11] == ["0.2500", "", "0.2500"]


def test_slices_stand_beside_one_another_for_all_models():
    assert slices_markdown(ROWS).splitlines() == [
        "## By target popularity",
        "",
        f"| target popularity | interactions {MODELS}",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| head | 4 | 0.2500 | 0.1250 | 1.0000 | 0.5000 |",
        "| cold | 0 |  |  |  |  |",
        "",
        "## By history length",
        "",
        f"| history length | interactions {MODELS}",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| 1+ | 0 |  |  |  |  |",
    ]


def test_trainings_of_one_model_are_told_as_their_means():
    one, two = row("Student", 0.25, 500.0, 7), row("Student", 0.75, 300.0, 7)
    both = mean_of_trainings([one, two])
    assert (both.name, both.parameters, both.ms_per_1000_users) == ("Student", 7, 400.0)
    assert both.metrics["NDCG@2"] == 0.5 and both.metrics["ARP@2"] == 1234.56
    assert both.slices["target popularity"] == {
        "head": {"n": 4, "HR@2": 0.5, "NDCG@2": 0.25}, "cold": {"n": 0, "HR@2": None, "NDCG@2": None},
    }  # fmt: skip
    assert mean_of_trainings([one]) == one
