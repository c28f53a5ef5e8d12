"""Where the gain lies: by groups of users and items; whose targets which model finds; examples."""

from itertools import combinations

from ...evaluation.slices import Slicing
from ...evaluation.tables import TextTable
from ..blocks import Block, Section, Text, missing
from ..examples import RULE, example_users
from ..figures import COLOURS, grouped_points, overlap_figure
from ..groups import groups_of
from ..intervals import CONFIDENCE, RESAMPLES, gains_by_slice
from ..overlap import K, overlap
from ..stored import StoredRun
from .numbers import share, with_interval
from .quality import metric_of

GAINING = ("distilled", "ensemble", "teacher", "self_distilled", "titles")


def slices(run: StoredRun) -> Section:
    """Returns the gain over the baseline by item popularity and history length."""
    title = "Where the gain lies"
    gaining = [subject for subject in GAINING if subject in run.models]
    if "baseline" not in run.models or not gaining:
        return Section(title, [missing("A gain needs a baseline and another model, and this run has not both.")])
    if run.dataset is None or run.made_from is None:
        return Section(title, [missing(f"Items and users cannot be grouped: {run.no_dataset}")])
    blocks: list[Block] = []
    groups = groups_of(run.dataset, run.made_from.history_buckets)
    for by in ("target popularity", "history length"):
        blocks += _gains(run, by, groups[by], gaining)
    blocks.append(
        Text(
            "Head and tail: the most and the least popular items that each make up 20 % of the training interactions; "
            f"cold: items without any. Intervals: {100 * CONFIDENCE:g} %, BCa bootstrap over users, {RESAMPLES:,} "
            "resamples."
        )
    )
    return Section(title, blocks)


def _gains(run: StoredRun, by: str, slicing: Slicing, gaining: list[str]) -> list[Block]:
    metric, baseline = metric_of(run), run.models["baseline"]
    found = {
        subject: gains_by_slice(baseline.values(metric), run.models[subject].values(metric), run.user, slicing)
        for subject in gaining
    }
    first = found[gaining[0]]
    there = [place for place, each in enumerate(first) if each.interactions]
    names = [f"{first[place].name} ({first[place].interactions:,})" for place in there]
    shown = [subject for subject in gaining if subject in ("distilled", "ensemble", "teacher")] or gaining
    series = [(run.models[each].name, COLOURS[each], [found[each][place].gain for place in there]) for each in shown]
    says = f"Change of {metric} from {baseline.name}, by {by} (number of interactions), with 95 % confidence intervals."
    header = [by.capitalize(), "Interactions", baseline.name, *(run.models[each].name for each in gaining)]
    rows = [
        [
            one.name,
            f"{one.interactions:,}",
            "" if one.before is None else f"{one.before:.4f}",
            *(with_interval(found[each][place].gain) for each in gaining),
        ]
        for place, one in enumerate(first)
    ]
    table = TextTable(f"{metric} of {baseline.name}, and the others' difference to it, by {by}", header, rows)
    return [grouped_points(names, series, f"change of {metric}", says), table]


def common(run: StoredRun) -> Section:
    """Returns how alike the lists of teacher, distilled student and baseline are, and what each finds alone."""
    title = "Overlap of the lists"
    there = [each for each in ("teacher", "distilled", "baseline") if each in run.models and run.models[each].lists]
    if len(there) < 2:
        reason = (
            "kept lists of fewer than two of teacher, distilled student and baseline: none can be put side by side."
        )
        return Section(title, [missing(f"This run {reason}")])
    pairs = {each: overlap(run.models[each[0]], run.models[each[1]]) for each in combinations(there, 2)}
    colours = {("teacher", "distilled"): "distilled", ("teacher", "baseline"): "baseline"}
    shown = [(COLOURS[colours.get(each, "titles")], pair) for each, pair in pairs.items()]
    header = ["Lists", f"Items in common of {K}", "Target in both", "First alone", "Second alone", "Neither"]
    rows = [
        [f"{pair.first} and {pair.second}", f"{pair.mean:.2f}",
         *map(share, (pair.both, pair.first_alone, pair.second_alone, pair.neither))]
        for pair in pairs.values()
    ]  # fmt: skip
    says = f"How many items two models' top-{K} lists have in common, over interactions and all pairs of trainings."
    return Section(title, [overlap_figure(shown, says), TextTable(f"Top-{K} lists, two at a time", header, rows)])


def examples(run: StoredRun) -> Section:
    """Returns twelve users, with history, target and lists."""
    title = "Twelve users"
    if run.dataset is None:
        return Section(title, [missing(f"Histories and titles are not at hand: {run.no_dataset}")])
    told = example_users(run, run.dataset)
    if not any(each.lists for each in told):
        return Section(title, [missing("This run kept no lists of its models.")])
    has_both = {"baseline", "distilled"} <= run.models.keys()
    rule = RULE if has_both else "Chosen at random: a choice by gain needs a baseline and a distilled student."
    return Section(title, [Text(rule), *told])
