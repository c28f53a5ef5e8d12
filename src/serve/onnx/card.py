"""What is told of a served model, for people."""

from typing import Any

from ...data.dataset import Dataset
from ...student.models import SequentialRecommender
from .parity import LIST_LENGTH, TOLERANCE, Parity

CARD = """# {name}

A {student_name} ({architecture}), {trained}, seed {seed}: `{student}`.
It reads the newest {history_length} items of a history and ranks a catalogue of {num_items:,} items.

## Data

{dataset}: {users:,} users, {interactions:,} interactions, of which {training:,} are the training part (fingerprint
{fingerprint}). `users.parquet` and `interactions.parquet` hold what each user has taken: they are personal data where
the log is.

## Figures

{test_users:,} test users, the whole catalogue ranked, items of the history {seen}; by this file, and by PyTorch:

| metric | model.onnx | PyTorch |
|---|---:|---:|
{figures}

Scores of the {best} best items of every user differ by at most {difference:.1e} (allowed: {tolerance:.0e}).
{other_lists:,} of the {test_users:,} lists differ, in items whose scores are as near as that.

## The graph

`model.onnx`, inputs: `history [batch, length]` int64, item numbers, oldest first, right-padded with 0, at least one
and at most {history_length} items; `excluded [batch, excluded]` int64, item numbers that are not recommended, 0 for
none; `k [1]` int64, 10 where it is not given; `bias [{bias_length}]` float32, added to the scores by item number (-inf
keeps an item out), the model's own where it is not given. Outputs: `items [batch, k]` int64, `scores [batch, k]`
float32, best first; scores are -inf where fewer than k items are left. {search}
Item number i is row i - 1 of `items.parquet`. The SHA-256 of every file stands in `manifest.json`.

## Limits

{new_items} Of an item it was trained with it knows nothing but who took it, and with what else. What was taken often it
recommends often.
"""
SEARCHES = {
    "float32": "All items are scored in float32.",
    "bytes": "Candidates, eight for each item asked for (160 at least), are found by vectors of a byte a dimension and "
    "scored in float32.",
}
NONE_NEW = "It knows no item that came after its training."
SOME_NEW = (
    "The last {new_items:,} items came after its training: nobody has taken them yet. They are recommended by their "
    "texts, as like those of known items and of the newest item of a history."
)


def model_card(
    name: str,
    student: SequentialRecommender,
    dataset: Dataset,
    parity: Parity,
    about: dict[str, Any],
) -> str:
    """Returns the Markdown of `MODEL_CARD.md`.

    Args:
        name: The folder's name.
        student: What is served.
        dataset: What it was trained on.
        parity: How it ranks the test users.
        about: What the manifest says: `student_name`, `architecture`, `student_is_distilled`, `student`, `seed`,
            `search`, `new_items`.
    """
    rows = [
        f"| {metric} | {value:.4f} | {parity.pytorch[metric]:.4f} |"
        for metric, value in parity.onnx.items()
        if metric.startswith(("NDCG@", "HR@"))
    ]
    return CARD.format(
        name=name,
        student_name=about["student_name"],
        architecture=", ".join(f"{key} {value}" for key, value in about["architecture"].items()),
        trained="distilled from a teacher" if about["student_is_distilled"] else "trained without a teacher",
        seed=about["seed"],
        student=about["student"],
        history_length=student.history_length,
        num_items=dataset.num_items,
        dataset=dataset.name,
        users=dataset.num_users,
        interactions=len(dataset.item_log),
        training=int(dataset.num_train.sum()),
        fingerprint=dataset.fingerprint,
        test_users=parity.users,
        seen="are left out" if parity.filter_seen else "compete",
        figures="\n".join(rows),
        best=LIST_LENGTH,
        difference=parity.largest_difference,
        tolerance=TOLERANCE,
        other_lists=parity.other_lists,
        bias_length=dataset.num_items + 1,
        search=SEARCHES[about["search"]],
        new_items=SOME_NEW.format(new_items=about["new_items"]) if about["new_items"] else NONE_NEW,
    )
