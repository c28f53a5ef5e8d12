"""Unlike rankers that teach together: a logarithmic opinion pool whose weights are those of the highest likelihood."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor, nn

from ...core.metrics import ndcg, rank_of_target
from ...data.batches import token_batches
from ...data.dataset import Dataset, ExampleBatch, Examples
from ...data.rows import newest
from ...student.models import SequentialRecommender
from ..gated_model import GatedLanguageModel
from ..interfaces import MadeByRow, Reading, Scored
from ..settings import Among

LANGUAGE_MODEL = "language_model"  # what the member that reads is called
KEPT_BYTES = 2**30  # of log-probabilities that weights are fitted on
LEAST = 2.0**-12  # weight of members none of which knows more than chance: they keep their order
SCALES = [2.0**octave for octave in range(-12, 13)]  # of a member's weight
AT_ONCE = 2**22  # of them in a step of the fit
SHORT = 100  # items of a member among which weights for ranking are fitted

log = logging.getLogger(__name__)


class OpinionPool(nn.Module):
    """`log p = Σ_m a_m log p_m - log Z`, `a_m >= 0`: frozen students, and maybe a language model.

    A logarithmic opinion pool (Genest & Zidek 1986). Its weights need not sum to 1: their sum is the inverse of a
    temperature, so that pool and calibration are one (`fit`). Ranks, and is exported, as a teacher is.

    Args:
        students: By name; each reads the newest items that it can.
        reader: The language model, which ranks by itself (`language_model` among the names), or None.
        embeddings: `[num_items, d_teacher]` float, exported with the rankings.
        max_tokens: Items of histories, padding included, that students read at once where there is no reader.
    """

    weights: Tensor  # [members] float32
    embeddings: Tensor

    def __init__(
        self,
        students: Mapping[str, SequentialRecommender],
        reader: GatedLanguageModel | None,
        embeddings: Tensor,
        max_tokens: int,
    ) -> None:
        super().__init__()
        self.students = nn.ModuleList(students.values()).requires_grad_(False).eval()
        self.reader = reader
        self.names = [*students, *([] if reader is None else [LANGUAGE_MODEL])]
        self.max_tokens = max_tokens
        self.register_buffer("weights", torch.full((len(self.names),), 1 / len(self.names)))
        self.register_buffer("embeddings", embeddings)

    @property
    def _members(self) -> list[SequentialRecommender]:
        return [cast("SequentialRecommender", each) for each in self.students]  # a ModuleList forgets its kind

    @property
    def history_length(self) -> int:
        """The most items of a history that a member looks at."""
        of_reader = 0 if self.reader is None else self.reader.history_length
        return max(of_reader, *(each.history_length for each in self._members))

    @property
    def ranks_by(self) -> dict[str, float]:
        """The members' weights."""
        return dict(zip(self.names, self.weights.tolist(), strict=True))

    @property
    def user_encoder(self) -> SequentialRecommender:
        """The student that selection policies judge examples by: the reader's, or the first."""
        return self._members[0] if self.reader is None else self.reader.user_encoder

    def item_embeddings(self) -> Tensor:
        """See `TeacherModel.item_embeddings`."""
        return self.embeddings

    text_embeddings = item_embeddings

    def trained_state(self) -> dict[str, Tensor]:
        """See `export.Ranking.trained_state`."""
        of_reader = {} if self.reader is None else self.reader.trained_state()
        read = {f"reader.{name}": value for name, value in of_reader.items()}
        return {"weights": self.weights, **self.students.state_dict(), **read}

    def read_together(self, dataset: Dataset) -> Tensor:
        """See `TeacherModel.read_together`."""
        if self.reader is None:
            return torch.arange(len(dataset.examples["train"]))
        return self.reader.read_together(dataset)

    @torch.no_grad()
    def log_probabilities(self, batch: ExampleBatch) -> list[Tensor]:
        """Returns each member's own, `[B, num_items]` float32, in the order of `names`."""
        said = [*self._of_students(batch.history)]
        if self.reader is not None:
            history = newest(batch.history, self.reader.history_length)
            said.append(self.reader.score(replace(batch, history=history)).log_softmax(1))
        return said

    @torch.no_grad()
    def score(self, batch: ExampleBatch) -> Tensor:
        """See `TeacherModel.score`."""
        return pooled(self.weights, self.log_probabilities(batch))

    def readings(self, dataset: Dataset, examples: Examples) -> Sequence[Reading]:
        """See `TeacherModel.readings`; where there is a reader, those that suit it."""

        def read(rows: Tensor, by_reader: Reading | None) -> Scored:
            said = None if by_reader is None else by_reader.read()
            history = dataset.batch(examples.subset(rows), self.history_length).history.to(self.weights.device)

            def members(some: slice) -> Iterator[Tensor]:
                yield from self._of_students(history[some])
                if said is not None:
                    yield said.scores[some].log_softmax(1)

            scores = MadeByRow(lambda some: pooled(self.weights, members(some)))
            return Scored(rows, scores, 0) if said is None else said._replace(scores=scores)

        if self.reader is not None:
            of_reader = self.reader.readings(dataset, examples)
            return [Reading(each.rows, partial(read, each.rows, each)) for each in of_reader]
        shown = examples.end.clamp(max=self.history_length)
        return [Reading(rows, partial(read, rows, None)) for rows in token_batches(shown, self.max_tokens)]

    def _of_students(self, history: Tensor) -> Iterator[Tensor]:
        for each in self._members:
            yield each.predict(newest(history, each.history_length)).log_softmax(1)


def pooled(weights: Tensor, log_p: Iterable[Tensor]) -> Tensor:
    """Returns `Σ_m a_m log p_m`, `[B, num_items]`, of weights `[members]` and each member's log p `[B, num_items]`, of
    which one at a time need be there.
    """
    return reduce(Tensor.add_, (weight * each for weight, each in zip(weights, log_p, strict=True)))


@dataclass(frozen=True)
class Fitted:
    """What validation says of some members together. Cross-entropies are in nats an example, over the whole catalogue.

    weights: Of each member, by name; those of the highest likelihood.
    cross_entropy: At these weights.
    ndcg: NDCG@10.
    """

    weights: dict[str, float]
    cross_entropy: float
    ndcg: float


class Worth(NamedTuple):
    """What examples say of a pool as it is; see `Fitted`."""

    ndcg: float
    cross_entropy: float


@dataclass(frozen=True)
class PoolFit:
    """The fit of a pool, and of parts of it.

    examples: How many validation examples it was made on.
    whole: All members.
    alone: Each member at the temperature that suits it best.
    without: All but one, refitted; none where there are no two.
    """

    examples: int
    whole: Fitted
    alone: dict[str, Fitted]
    without: dict[str, Fitted]


@torch.no_grad()
def worth(pool: OpinionPool, batches: Iterable[ExampleBatch], device: torch.device) -> Worth:
    """Returns what `pool`, on `device`, is worth as it is on examples."""
    ranks, losses = [], []
    for batch in batches:
        batch = batch.to(device)
        scores = pool.score(batch)
        ranks.append(rank_of_target(scores, batch.target, batch.seen))
        losses.append(F.cross_entropy(scores, batch.target - 1, reduction="none"))
    return Worth(float(ndcg(torch.cat(ranks), 10).mean()), float(torch.cat(losses).mean(dtype=torch.float64)))


def most_examples(members: int, num_items: int) -> int:
    """Returns how many validation examples a pool can be fitted on (`KEPT_BYTES`), at least 1."""
    return max(1, KEPT_BYTES // (4 * members * num_items))


def fit(
    pool: OpinionPool, batches: Iterable[ExampleBatch], device: torch.device, among: Among = "catalogue"
) -> PoolFit:
    """Returns the weights of the highest likelihood, what each member is worth alone, and the pool without it.

    The likelihood is concave in the weights: what is found is the one maximum there is. Nothing is set in `pool`.

    Args:
        pool: On `device`.
        batches: Validation examples, `most_examples` at most; all that is chosen by them is a weight for each member.
        device: Where the pool is.
        among: What the target's likelihood is among: the catalogue; or the best items of the members, which is what
            ranking is about (`shortlist`), in examples whose target is one of these. The weights' common factor, a
            temperature, is that of the highest likelihood among the catalogue in both cases.
    """
    parts, answers = [], []
    for batch in batches:
        parts.append(torch.stack([each.cpu() for each in pool.log_probabilities(batch.to(device))]))
        answers.append((batch.target, batch.seen))
    log_p, target, names = torch.cat(parts, 1), torch.cat([each for each, _ in answers]), pool.names
    scales = [_scale(each, target - 1) for each in log_p]

    def fitted(chosen: Sequence[int]) -> Fitted:
        some = log_p if len(chosen) == len(names) else log_p[list(chosen)]
        scale = [scales[place] for place in chosen]
        if among == "shortlist" and len(chosen) > 1:
            weights, loss = _ranking_best(some, answers, scale)
        else:
            weights, loss = _most_likely(some, target - 1, scale)
        in_batches = zip(some.split([len(each) for each, _ in answers], dim=1), answers, strict=True)
        ranks = [rank_of_target(pooled(weights, part), *answer) for part, answer in in_batches]
        by_name = dict(zip([names[place] for place in chosen], weights.tolist(), strict=True))
        return Fitted(by_name, loss, float(ndcg(torch.cat(ranks), 10).mean()))

    everyone = range(len(names))
    several = len(names) > 1
    return PoolFit(
        examples=len(target),
        whole=fitted(everyone),
        alone={names[one]: fitted([one]) for one in everyone},
        without={names[one]: fitted([other for other in everyone if other != one]) for one in everyone if several},
    )


def _ranking_best(
    log_p: Tensor, answers: Sequence[tuple[Tensor, Tensor | None]], scales: Sequence[float]
) -> tuple[Tensor, float]:
    """Returns weights `[members]` as `_most_likely` does, of the highest likelihood among members' best items, but for
    their common factor; among the catalogue where members know nothing of targets among these.
    """
    column = torch.cat([target for target, _ in answers]) - 1
    seen = [row for target, seen in answers for row in (seen if seen is not None else torch.zeros(len(target), 1))]
    taken = torch.nn.utils.rnn.pad_sequence(seen, batch_first=True).long()
    items, there = shortlist(log_p, column, taken)
    rows = (there & (items == column.unsqueeze(1))).any(1)
    weights = torch.zeros(len(log_p))
    if rows.any():
        items, there, answer = items[rows], there[rows], column[rows].unsqueeze(1)
        some = log_p[:, rows].gather(2, items.expand(len(log_p), -1, -1))
        weights, _ = _most_likely(some, (there & (items == answer)).long().argmax(1), scales, there)
    if weights.max() <= LEAST or (weights / torch.tensor(scales)).max() <= LEAST:
        log.warning("Among the best %d of its members an ensemble finds nothing: its weights are the likeliest", SHORT)
        return _most_likely(log_p, column, scales)
    together = pooled(weights, log_p).unsqueeze(0)
    factor, loss = _most_likely(together, column, [_scale(together[0], column)])
    return factor * weights, loss


def shortlist(log_p: Tensor, column: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the best `SHORT` items of each member as columns `[n, C]` int64, and which of them count, `[n, C]` bool:
    each item once, and those only that compete.

    Args:
        log_p: `[members, n, N]` float32.
        column: `[n]` int64, the answers, which compete.
        taken: `[n, S]` int64 item numbers that do not, padded with 0.
    """
    competes = torch.ones(len(column), log_p.shape[2] + 1, dtype=torch.bool).scatter(1, taken, False)
    competes = competes[:, 1:].scatter(1, column.unsqueeze(1), True)
    best = [each.where(competes, -torch.inf).topk(min(SHORT, log_p.shape[2]), dim=1).indices for each in log_p]
    items = torch.cat(best, dim=1).sort(1).values
    first = torch.cat([torch.ones_like(items[:, :1], dtype=torch.bool), items.diff(dim=1) > 0], dim=1)
    return items, first & competes.gather(1, items)


def _most_likely(
    log_p: Tensor, column: Tensor, scales: Sequence[float], there: Tensor | None = None
) -> tuple[Tensor, float]:
    """Returns weights `[members]` float32, none below 0, and the mean cross-entropy at them.

    Args:
        log_p: `[members, n, N]` float32.
        column: `[n]` int64, the answers.
        scales: About each member's best weight alone: members may be of any sureness, and the search takes steps of
            one size.
        there: `[n, N]` bool, what competes; None: all.
    """
    scale = np.array(scales)

    def scaled(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _cross_entropy(log_p, column, weights * scale, there)
        return value, gradient * scale

    start, how = np.full(len(scale), 1 / len(scale)), {"ftol": 1e-12, "gtol": 1e-7}
    found = minimize(scaled, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(scale), options=how)
    weights = found.x * scale
    if not weights.any():  # uniform is likelier than any of them
        weights = np.full(len(scale), LEAST)
    return torch.from_numpy(weights).float(), _cross_entropy(log_p, column, weights, there)[0]


def _scale(log_p: Tensor, column: Tensor) -> float:
    """Returns the best of `SCALES` for one member `[n, N]`."""
    return min(SCALES, key=lambda weight: _cross_entropy(log_p.unsqueeze(0), column, np.array([weight]))[0])


def _cross_entropy(
    log_p: Tensor, column: Tensor, weights: np.ndarray, there: Tensor | None = None
) -> tuple[float, np.ndarray]:
    """Returns the mean cross-entropy of a pool, in float64, and its gradient by the weights, `[members]` float64."""
    a, (members, n, num_items) = torch.from_numpy(weights).float(), log_p.shape
    value, gradient = 0.0, torch.zeros(members, dtype=torch.float64)
    for part in torch.arange(n).split(max(1, AT_ONCE // num_items)):
        some, answers = log_p[:, part[0] : part[-1] + 1], column[part].unsqueeze(1)
        scores = pooled(a, some).double()
        if there is not None:
            scores = scores.where(there[part], -torch.inf)
        log_q = scores.log_softmax(1)
        value -= log_q.gather(1, answers).sum().item()
        told = some.gather(2, answers.expand(members, -1, 1)).double().sum((1, 2))
        gradient += torch.einsum("bn,mbn->m", log_q.exp().float(), some).double() - told
    return value / n, (gradient / n).numpy()
