"""What the teacher reads, what it does with its experts, and whether the models' probabilities mean what they say."""

import math

import torch

from ...evaluation.slices import Slicing
from ...evaluation.tables import TextTable
from ..blocks import Block, Section, Text, missing
from ..calibration import reliability, uniform_cross_entropy
from ..figures import COLOURS, reliability_figure, stacked_shares
from ..groups import groups_of
from ..intervals import of_group
from ..stored import StoredRun
from .numbers import share

CALIBRATED = ("baseline", "titles", "self_distilled", "teacher", "ensemble", "distilled")
CONTROLS = ("titles", "self_distilled")  # in the table, not in the figure


def experts(run: StoredRun) -> Section:
    """Returns how the teacher's experts are mixed, by groups of users."""
    title = "Gates and experts"
    if "teacher" not in run.models:
        return Section(title, [missing("This run ranked no teacher.")])
    lists = run.models["teacher"].lists
    if not lists or "gates" not in lists[0]:
        return Section(title, [missing("The evaluation of the teacher kept no gates.")])
    gates = lists[0]["gates"].double()
    if gates.shape[1] < 2:
        return Section(title, [missing("The teacher has one expert: there is nothing to mix.")])
    if run.dataset is None or run.made_from is None:
        return Section(title, [missing(f"Users cannot be grouped: {run.no_dataset}")])
    entropy = -(gates * gates.clamp_min(1e-12).log()).sum(1).mean().item()
    most = math.log(gates.shape[1])
    blocks: list[Block] = [
        Text(
            f"Over {len(gates):,} test histories the gates' entropy is {entropy:.3f} nats on average "
            f"({share(entropy / most)} of {most:.3f}, that of equal weights); the standard deviation of an expert's "
            f"weight between users is {gates.std(0, correction=0).mean().item():.3f}. Equal weights for all would make "
            "the experts one LoRA."
        )
    ]
    groups = groups_of(run.dataset, run.made_from.history_buckets)
    for by in ("history length", "activity"):
        blocks += _mixture(gates, by, groups[by])
    return Section(title, blocks)


def _mixture(gates: torch.Tensor, by: str, slicing: Slicing) -> list[Block]:
    names = [f"Expert {place + 1}" for place in range(gates.shape[1])]
    found = [(name, n, means) for name, n, means in of_group(gates, slicing) if means is not None]
    series = [(name, [float(means[place]) for _, _, means in found]) for place, name in enumerate(names)]
    rows = [[name, f"{n:,}", *(f"{value:.3f}" for value in means.tolist())] for name, n, means in found]
    says = f"Mean weight of each expert, by the user's {by}."
    table = TextTable(f"Mean gates by {by}", [by.capitalize(), "Interactions", *names], rows)
    return [stacked_shares([name for name, _, _ in found], series, says), table]


def reading(run: StoredRun) -> Section:
    """Returns what the teacher's language model lives on."""
    title = "What the language model reads"
    if "teacher" not in run.models:
        return Section(title, [missing("This run ranked no teacher.")])
    if run.probe is None:
        return Section(title, [missing("This run did not probe its teacher (controls=true, or run_probe).")])
    return Section(title, [Text(run.probe.reads()), run.probe.table()])


def calibration(run: StoredRun) -> Section:
    """Returns reliability and cross-entropy of the models whose scores are logits."""
    title = "Calibration"
    models = {each: run.models[each] for each in CALIBRATED if each in run.models and run.models[each].lists}
    if not models.keys() - set(CONTROLS):
        return Section(title, [missing("The evaluations of this run kept no probabilities.")])
    found = {subject: reliability(model) for subject, model in models.items()}
    uniform = _uniform(run)
    rows = [
        [each.model, f"{each.cross_entropy:.3f}", f"{math.exp(each.cross_entropy):,.0f}",
         "" if uniform is None else f"{uniform - each.cross_entropy:+.3f}".replace("-", "−"), f"{each.error:.4f}"]
        for each in found.values()
    ]  # fmt: skip
    if uniform is not None:
        rows.insert(0, ["Uniform over what competes", f"{uniform:.3f}", f"{math.exp(uniform):,.0f}", "+0.000", ""])
    header = ["Model", "Cross-entropy (nats)", "Perplexity", "Below uniform", "Calibration error (first item)"]
    says = (
        "How sure a model is of the item it puts first, and how often the user took that item next: fifths of the "
        "lists, from the least sure to the surest, with 95 % intervals. On the dotted line probabilities mean what "
        "they say."
    )
    shown = [(COLOURS[subject], each) for subject, each in found.items() if subject not in CONTROLS]
    blocks: list[Block] = [
        reliability_figure(shown, says),
        TextTable("Test targets under each model's softmax", header, rows),
    ]
    note = (
        "Probabilities are the softmax of a model's scores over the items that compete. A student that was trained "
        "with another loss than cross-entropy has scores that were never meant as logits."
    )
    return Section(title, [*blocks, Text(note)])


def _uniform(run: StoredRun) -> float | None:
    """Returns the cross-entropy of equal chances over the items that compete; None where they are not known."""
    if not run.first.filter_seen:
        return uniform_cross_entropy(run.first.num_items)
    return None if run.dataset is None else uniform_cross_entropy(run.first.num_items, run.dataset)
