"""DLLM2Rec's distillation loss alone, forward and backward: ours, or its formula as written.

Settings: `side` ("ours" or "formula"), `batch`, `items`, `k`, `alpha`, `lam`, `beta`, `warm_up`, `steps`.
"""

import time
from typing import Any

import torch
from torch import Tensor

from src.core.seed import seed_everything
from src.distill.dros import propensity_scores
from src.distill.kd_losses import PRESETS, DROLoss, RankingDistillationLoss

from ..timing import Line, finish_on_device

GAMMAS = (0.3, 0.5, 0.1)
PAPER = PRESETS["paper"]


def main() -> None:
    line = Line()
    settings = line.settings
    seed_everything(0)
    batch, side = drawn(settings), {"ours": Ours, "formula": Formula}[settings["side"]](settings)
    run(side, batch, settings["warm_up"])
    line.serve({"loss": float(side(**batch))}, lambda: run(side, batch, settings["steps"]))


def drawn(settings: dict[str, Any]) -> dict[str, Tensor]:
    B, N, K = settings["batch"], settings["items"], settings["k"]
    order = torch.rand(B, N).argsort(1)
    return {
        "scores": torch.randn(B, N).requires_grad_(),
        "target": order[:, 0],
        "candidates": order[:, 1 : K + 1],
        "negatives": order[:, K + 1],
        "distance": torch.rand(B, K),
    }


def run(side, batch: dict[str, Tensor], steps: int) -> dict[str, Any]:
    start = time.perf_counter()
    for _ in range(steps):
        batch["scores"].grad = None
        side(**batch).backward()
    finish_on_device()
    return {"seconds": (time.perf_counter() - start) / steps}


class Ours:
    def __init__(self, settings: dict[str, Any]) -> None:
        alpha, lam, beta = settings["alpha"], settings["lam"], settings["beta"]
        propensity = propensity_scores(torch.randint(1, 100, (settings["items"],)), 0.05)
        self.ranking = RankingDistillationLoss(PAPER, propensity, lam, alpha, beta, GAMMAS)
        self.dros = DROLoss(PAPER, propensity, alpha, beta)

    def __call__(self, scores, target, candidates, negatives, distance) -> Tensor:
        own, robust = self.dros.robust_with_candidates(scores, target, candidates)
        terms = self.ranking(scores, candidates, distance, negatives, robust)
        return self.dros.alpha * own.mean() + sum(terms.values())


class Formula(Ours):
    """A loop over the candidates, each with sums over the catalogue of its own."""

    def __call__(self, scores, target, candidates, negatives, distance) -> Tensor:
        weights = self.ranking.weights(scores, candidates, distance)
        total = self.dros.alpha * self.robust(scores, target).mean()
        for k in range(candidates.shape[1]):
            weight, chosen = weights[:, k : k + 1], candidates[:, k]
            bce = PAPER.ranking_bce(self.of(scores, chosen), self.of(scores, negatives))
            robust = self.robust(scores, chosen)
            total = total + self.ranking.lam * ((weight * bce).mean() + self.dros.alpha * (weight * robust).mean())
        return total

    def robust(self, scores: Tensor, target: Tensor) -> Tensor:
        p, beta = self.dros.propensity, self.dros.beta
        at_target = self.of(p * scores.square(), target).squeeze(1) / beta
        wanted = self.of(p * (scores - 1).square(), target).squeeze(1) / beta
        everyone = (p * scores.square() / beta).exp().sum(1)
        return (everyone - at_target.exp() + wanted.exp() + 1e-24).log()

    @staticmethod
    def of(values: Tensor, column: Tensor) -> Tensor:
        return values.gather(1, column.unsqueeze(1))


if __name__ == "__main__":
    main()
