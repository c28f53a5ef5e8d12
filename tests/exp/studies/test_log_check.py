from src.exp.studies.log_check import markdown, tables

FACTS = {
    "dataset": "mine",
    "files": ["log.csv"],
    "log": {
        "interactions": 1234, "users": 3, "items": 4, "density": 0.0625, "first": "2024-01-01 00:00:00",
        "interactions_per_user": {"least": 1.0, "mean": 2.5}, "interactions_per_item": {"least": 2.0, "mean": 3.0},
        "untitled_items": 0, "largest_user": ["a", 0.5],
    },
    "filters": [{"filter": "none", "interactions": 1234, "users": 3, "items": 4}],
    "split": {"by": "given", "examples": {"train": 5, "val": 2, "test": 1}, "cold_targets": 1 / 3},
    "warnings": ["Mind | this."],
}  # fmt: skip


def test_what_was_found_is_told_in_four_tables():
    log, lengths, filters, split = tables(FACTS)
    assert log.title == "mine: the log"
    assert ["interactions", "1,234"] in log.rows and ["density: interactions per user and item", "6.25 %"] in log.rows
    assert ["first time (UTC)", "2024-01-01 00:00:00"] in log.rows
    assert lengths.header == ["", "least", "mean"] and lengths.rows[0] == ["interactions of a user", "1", "2.5"]
    assert filters.rows == [["none", "1,234", "3", "4"]]
    assert split.title == "The split, dataset.split=given" and split.rows[0] == ["train examples", "5"]
    assert split.rows[-1] == ["test targets that training never sees", "33.3 %"]
    assert len(list(tables({**FACTS, "split": {"refused": "No."}}))) == 3


def test_the_document_has_files_tables_and_warnings():
    text = markdown(FACTS)
    assert text.startswith("# Check of mine\n\n- `log.csv`\n")
    assert "## What is left\n\n| filter | interactions | users | items |\n| --- | ---: | ---: | ---: |\n" in text
    assert text.endswith("## Warnings\n\n- Mind | this.\n")
    assert markdown({**FACTS, "warnings": []}).endswith("## Warnings\n\nNone.\n")
