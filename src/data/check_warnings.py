"""What of a checked log makes results worthless, or otherwise to be read with care."""

from collections.abc import Iterator
from typing import Any

FEW_TESTS = 100  # test examples below which models hardly ever differ significantly
MANY_TIES, LARGE, MANY_COLD, LATER = 0.5, 0.1, 0.2, 0.05  # shares from which on there is something to say


def warnings_of(facts: dict[str, Any]) -> list[str]:
    """Returns a sentence for each thing; `facts` are those of `check_log`."""
    split = facts["split"]
    found = [*_of_log(facts["log"])]
    return [*found, split["refused"]] if "refused" in split else [*found, *_of_split(split)]


def _of_log(log: dict[str, Any]) -> Iterator[str]:
    if log.get("distinct_times") == 1:
        yield (
            "All times are equal: which item is next is only the order of the rows. Name the column of the times "
            "(dataset.columns.timestamp), or null if the rows are in order."
        )
    elif log.get("tied", 0) >= MANY_TIES:
        yield (
            f"{log['tied']:.0%} of the interactions have the time of another one of the same user, so that their order "
            "is that of the rows: is there a column with finer times?"
        )
    if log.get("duplicates"):
        yield (
            f"{log['duplicates']:,} rows repeat user, item and time of another row. They are kept; drop them in the "
            "file if they are no interactions of their own: a target that equals the item before it is no test."
        )
    for who, key in (("User", "largest_user"), ("Item", "largest_item")):
        name, share = log[key]
        if share >= LARGE:
            yield f"{who} {name} has {share:.0%} of all interactions: is it a real one, or stands it for missing ids?"
    if log["untitled_items"]:
        yield (
            f"{log['untitled_items']:,} of {log['items']:,} items have no title, and a teacher reads titles: give them "
            "in dataset.items, or see dataset.untitled."
        )


def _of_split(split: dict[str, Any]) -> Iterator[str]:
    if split["examples"]["test"] < FEW_TESTS:
        yield (
            f"There are {split['examples']['test']:,} test examples: with so few, no difference between models is sure."
        )
    if split["test_users_without_history"]:
        yield (
            f"{split['test_users_without_history']:,} of {split['test_users']:,} test users have no history: they "
            "have one interaction, and it is no example."
        )
    if split["cold_targets"] >= MANY_COLD:
        yield (
            f"{split['cold_targets']:.0%} of the test targets are items that training never saw: models of ids cannot "
            "rank them, whatever else they learn."
        )
    if split.get("later_in_training", 0) >= LATER:
        yield (
            f"Leak by time: a test target is older than {split['later_in_training']:.0%} of the training interactions, "
            "on average. Models know what became popular after it: figures compare models but promise too much for the "
            "future. dataset.split=global_time has no such leak."
        )
