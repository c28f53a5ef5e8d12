"""What `run_check` found, as tables."""

from collections.abc import Iterator
from typing import Any

from ...evaluation.tables import TextTable

SHARES = ("density", "repeated", "tied", "cold_targets", "later_in_training")
MEANINGS = {
    "interactions": "interactions",
    "users": "users (with dataset.split=sessions: sessions)",
    "items": "items",
    "density": "density: interactions per user and item",
    "first": "first time (UTC)",
    "last": "last time (UTC)",
    "distinct_times": "different times",
    "duplicates": "rows that repeat user, item and time of another",
    "repeated": "interactions with an item that the user has already",
    "tied": "interactions at the time of another of the same user",
    "untitled_items": "items without a title",
    "test_users": "users of the test part",
    "test_users_without_history": "test users without a history",
    "cold_items": "items that training never sees",
    "cold_targets": "test targets that training never sees",
    "later_in_training": "training interactions later than a test target",
}


def tables(facts: dict[str, Any]) -> Iterator[TextTable]:
    """Yields what `src.data.check.check_log` found: the log, its lengths, the filters, the split where there is one."""
    log, split = facts["log"], facts["split"]
    yield TextTable(f"{facts['dataset']}: the log", ["", "value"], _told(log))
    lengths = {key: log[f"interactions_per_{key}"] for key in ("user", "item")}
    rows = [[f"interactions of {'a user' if key == 'user' else 'an item'}", *map(_number, each.values())]
            for key, each in lengths.items()]  # fmt: skip
    yield TextTable("Lengths", ["", *lengths["user"]], rows)
    header = ["filter", "interactions", "users", "items"]
    yield TextTable("What is left", header, [[str(row["filter"]), *(_number(row[name]) for name in header[1:])]
                                             for row in facts["filters"]])  # fmt: skip
    if "refused" not in split:
        examples = [[f"{name} examples", _number(count)] for name, count in split["examples"].items()]
        yield TextTable(f"The split, dataset.split={split['by']}", ["", "value"], [*examples, *_told(split)])


def markdown(facts: dict[str, Any]) -> str:
    """Returns the tables and warnings as a document."""
    parts = [f"## {table.title}\n\n{table.markdown()}" for table in tables(facts)]
    warnings = "".join(f"- {warning}\n" for warning in facts["warnings"]) or "None.\n"
    files = "".join(f"- `{path}`\n" for path in facts["files"])
    return "\n".join([f"# Check of {facts['dataset']}\n", files, *parts, f"## Warnings\n\n{warnings}"])


def _told(facts: dict[str, Any]) -> list[list[str]]:
    return [[meaning, _value(name, facts[name])] for name, meaning in MEANINGS.items() if name in facts]


def _value(name: str, value: Any) -> str:
    if name in SHARES:
        return f"{100 * value:.3g} %"
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
