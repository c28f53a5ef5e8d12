"""A dataset from whose training some items are taken out, as if they had come to the catalogue after it."""

from dataclasses import dataclass, replace

import polars as pl
import torch
from torch import Tensor

from ..core.artefact import fingerprint
from ..core.errors import UserError
from .catalogue import Catalogue
from .dataset import Dataset, Examples


@dataclass(frozen=True)
class HeldOutItems:
    """A dataset with some items held out, in two views. Items are numbered anew: those held out come last.

    known: What a student is trained on: no interaction with an item held out, anywhere.
    whole: The same with the interactions of validation and test that are with items held out, as targets and in
        histories; none of them is in the training part.
    old_number: `[num_items + 1]` int64, of each item of `whole` its number in the dataset; [0] is 0.
    """

    known: Dataset
    whole: Dataset
    old_number: Tensor

    @property
    def num_known(self) -> int:
        """Items above this number are held out."""
        return self.known.num_items


def draw_items(dataset: Dataset, share: float, generator: torch.Generator) -> Tensor:
    """Returns a share of the items that have a text, drawn uniformly: `[n]` int64, rising.

    Raises:
        UserError: That is no item, or all of them.
    """
    with_text = (pl.Series(dataset.catalogue.texts, dtype=pl.String) != "").to_torch().nonzero()[:, 0] + 1
    n = round(share * len(with_text))
    if not 0 < n < dataset.num_items:
        raise UserError(
            f"cold_start.share={share} of the {len(with_text)} items of {dataset.name} that have a text is {n}: choose "
            "another share."
        )
    return with_text[torch.randperm(len(with_text), generator=generator)[:n]].sort().values


def hold_out(dataset: Dataset, items: Tensor) -> HeldOutItems:
    """Takes items out of the training part of every user.

    An example keeps its place unless no interaction is left before its target. Examples get new ids.

    Args:
        dataset: A prepared dataset.
        items: `[n]` int64 item numbers, each once.

    Raises:
        UserError: Nothing to train or validate on is left.
    """
    held = torch.zeros(dataset.num_items + 1, dtype=torch.bool)
    held[items] = True
    order = torch.cat([torch.zeros(1, dtype=torch.int64), (~held[1:]).nonzero()[:, 0] + 1, held.nonzero()[:, 0]])
    new_number = torch.empty(len(order), dtype=torch.int32)
    new_number[order] = torch.arange(len(order), dtype=torch.int32)
    named = fingerprint("items held out", dataset.fingerprint, items.tolist())
    numbered = replace(
        dataset,
        fingerprint=named,
        item_log=new_number[dataset.item_log],
        catalogue=_chosen(dataset.catalogue, order[1:]),
    )
    of_held = held[dataset.item_log]
    known = _without(numbered, of_held)
    if not len(known.examples["train"]) or not len(known.examples["val"]):
        raise UserError(
            f"With {len(items)} items held out, {dataset.name} has nothing left to train or validate on: hold out a "
            "smaller share."
        )
    known = replace(known, catalogue=_chosen(dataset.catalogue, order[1 : dataset.num_items - len(items) + 1]))
    return HeldOutItems(known, _without(numbered, of_held & dataset.in_training_part), order)


def _chosen(catalogue: Catalogue, items: Tensor) -> Catalogue:
    chosen = (items - 1).tolist()
    columns = (catalogue.raw_ids, catalogue.titles, catalogue.texts)
    return Catalogue(*([column[item] for item in chosen] for column in columns))


def _without(dataset: Dataset, out: Tensor) -> Dataset:
    """Returns a dataset without some interactions, `[num_interactions]` bool, and the examples that are left."""
    before = torch.cat([torch.zeros(1, dtype=torch.int64), (~out).cumsum(0)])  # kept ones before each interaction
    offsets = before[dataset.offsets]
    in_training = torch.cat([torch.zeros(1, dtype=torch.int64), (~out & dataset.in_training_part).cumsum(0)])
    num_train = in_training[dataset.offsets].diff()
    examples, next_id = {}, 0
    for split, old in dataset.examples.items():
        place = dataset.offsets[old.user] + old.end
        end = before[place] - offsets[old.user]
        left = (~out[place] & (end > 0)).nonzero()[:, 0]
        ids = torch.arange(next_id, next_id + len(left))
        examples[split] = Examples(ids, old.user[left], end[left])
        next_id += len(left)
    return replace(dataset, item_log=dataset.item_log[~out], offsets=offsets, num_train=num_train, examples=examples)
