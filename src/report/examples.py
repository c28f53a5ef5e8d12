"""Twelve users to look at: chosen by a rule, so that failures are shown like successes."""

import torch
from torch import Tensor

from ..core.seed import generator
from ..data.catalogue import Catalogue
from ..data.dataset import Dataset
from .blocks import ExampleUser, Listed, Recommended
from .groups import SPLIT
from .stored import StoredRun

OF_EACH, SHOWN, LISTED, SEED = 4, 10, 5, 0
LISTS_OF = ("teacher", "distilled", "baseline")
RULE = (
    f"Chosen by rule: the {OF_EACH} interactions whose target rises most from the baseline's list to that of the "
    "distilled student (difference of 1/rank, first training of each; the first example where several are alike), the "
    f"{OF_EACH} whose target falls most, and {OF_EACH} of the others at random (seed {SEED}), "
    "more where fewer rise or fall."
)


def chosen(gain: Tensor | None, count: int) -> dict[int, str]:
    """Returns rows of examples, each with why it was chosen, in the order in which they are shown.

    Args:
        gain: `[n]` float64 of each example, or None: then all are drawn at random.
        count: n.
    """
    rows: dict[int, str] = {}
    if gain is not None:
        best = [row for row in gain.argsort(descending=True, stable=True).tolist() if gain[row] > 0]
        worst = [row for row in gain.argsort(stable=True).tolist() if gain[row] < 0]
        rows |= dict.fromkeys(best[:OF_EACH], "largest gain") | dict.fromkeys(worst[:OF_EACH], "largest loss")
    rest = [row for row in torch.randperm(count, generator=generator(SEED)).tolist() if row not in rows]
    return {**rows, **dict.fromkeys(rest[: 3 * OF_EACH - len(rows)], "at random")}


def example_users(run: StoredRun, dataset: Dataset) -> list[ExampleUser]:
    """Returns the example users of a run, as far as its models kept lists."""
    models = {subject: run.models[subject].trainings[0] for subject in LISTS_OF if subject in run.models}
    gain = None
    if {"baseline", "distilled"} <= models.keys():
        gain = 1 / models["distilled"].rank.double() - 1 / models["baseline"].rank.double()
    examples, names, users = dataset.examples[SPLIT], dataset.catalogue, dataset.raw_user_ids()
    told = []
    for row, why in chosen(gain, len(examples)).items():
        user, end = int(examples.user[row]), int(examples.end[row])
        log = dataset.item_log[dataset.offsets[user] :][: end + 1].tolist()
        target = log[-1]
        lists = [
            Recommended(
                each.figures.model,
                f"{int(each.rank[row]):,}",
                [_listed(names, item, target) for item in each.lists["top_items"][row, :LISTED].tolist() if item],
            )
            for each in models.values()
            if each.lists is not None
        ]
        history = [_listed(names, item, 0) for item in log[-1 - SHOWN : -1]]
        earlier = max(0, end - SHOWN)
        told.append(ExampleUser(f"User {users[user]}", why, earlier, history, _listed(names, target, target), lists))
    return told


def _listed(names: Catalogue, item: int, target: int) -> Listed:
    return Listed(names.title(item), names.raw_id(item), item == target)
